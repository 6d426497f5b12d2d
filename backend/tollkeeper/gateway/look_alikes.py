"""Letters of other scripts that look like Latin ones: what stands among Latin letters in another's place is in disguise."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

LOOK_ALIKES: Final[Mapping[str, str]] = MappingProxyType(
    dict(
        zip(
            "аеорсухіјѕһԁԛԝьвнкмтгзԍӏαεοριυνκτχγηАЕОРСУХІЈЅВНКМТΑΒΕΖΗΙΚΜΝΟΡΤΥΧıɑɡʟɪᴀᴇᴏɴʀᴛᴜ",
            "aeopcyxijshdqwbbhkmtr3glaeopiuvktxynaeopcyxijsbhkmtabezhikmnoptyxiagliaeonrtu",
            strict=True,
        )
    )
)
