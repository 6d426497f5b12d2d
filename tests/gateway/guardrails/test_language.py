"""Languages by their commonest words: what is told apart, and what is left unknown."""

import pytest
from pydantic import ValidationError

from tests.gateway.guardrails.guarding import policy
from tollkeeper.contracts.guardrails import Direction, RuleUse
from tollkeeper.gateway.guardrail import Part, PartKind
from tollkeeper.gateway.guardrails import RULES
from tollkeeper.gateway.guardrails.language.identify import LANGUAGES, identify
from tollkeeper.gateway.screen import Screen

SAMPLES = {
    "en": "Could you please tell me why the invoice that we sent last week has not been paid by the customer?",
    "de": "Können Sie mir bitte sagen, warum die Rechnung, die wir letzte Woche geschickt haben, noch nicht bezahlt ist?",
    "fr": "Pouvez-vous me dire pourquoi la facture que nous avons envoyée la semaine dernière n'est pas encore payée ?",
    "es": "¿Me puede decir por qué la factura que enviamos la semana pasada no ha sido pagada todavía por el cliente?",
    "it": "Può dirmi perché la fattura che abbiamo inviato la settimana scorsa non è ancora stata pagata dal cliente?",
    "pt": "Você pode me dizer por que a fatura que enviamos na semana passada ainda não foi paga pelo cliente?",
    "nl": "Kunt u mij vertellen waarom de factuur die wij vorige week hebben gestuurd nog niet door de klant is betaald?",
    "sv": "Kan du berätta för mig varför fakturan som vi skickade förra veckan inte har betalats av kunden ännu?",
    "da": "Kan du fortælle mig, hvorfor fakturaen, som vi sendte i sidste uge, endnu ikke er blevet betalt af kunden?",
    "fi": "Voisitko kertoa minulle, miksi lasku, jonka lähetimme viime viikolla, ei ole vielä maksettu ja mitä nyt teemme?",
    "pl": "Czy może mi pan powiedzieć, dlaczego faktura, którą wysłaliśmy w zeszłym tygodniu, nie została jeszcze opłacona?",
    "cs": "Můžete mi říct, proč faktura, kterou jsme poslali minulý týden, ještě není zákazníkem zaplacena, a co se stalo?",
    "tr": "Geçen hafta gönderdiğimiz faturanın neden müşteri tarafından hâlâ ödenmediğini bana söyler misiniz, lütfen?",
    "hu": "Meg tudja mondani, hogy miért nem fizette még ki az ügyfél azt a számlát, amit a múlt héten küldtünk el?",
    "ro": "Îmi puteți spune de ce factura pe care am trimis-o săptămâna trecută nu a fost încă plătită de către client?",
    "id": "Bisakah Anda memberi tahu saya mengapa faktur yang kami kirim minggu lalu belum dibayar oleh pelanggan itu?",
    "vi": "Bạn có thể cho tôi biết vì sao hóa đơn mà chúng tôi đã gửi tuần trước vẫn chưa được khách hàng thanh toán không?",
    "ru": "Скажите, пожалуйста, почему счёт, который мы отправили на прошлой неделе, ещё не был оплачен клиентом?",
    "uk": "Скажіть, будь ласка, чому рахунок, який ми надіслали минулого тижня, ще не був оплачений клієнтом?",
    "bg": "Кажете ми, моля, защо фактурата, която изпратихме миналата седмица, все още не е платена от клиента?",
    "ar": "هل يمكن أن تخبرني لماذا لم يتم دفع الفاتورة التي أرسلناها في الأسبوع الماضي من قبل العميل؟",
    "fa": "لطفا به من بگویید چرا صورتحسابی که هفته گذشته برای شما فرستادیم هنوز پرداخت نشده است؟",
    "he": "האם תוכל לומר לי מדוע החשבונית ששלחנו בשבוע שעבר עדיין לא שולמה על ידי הלקוח?",
    "el": "Μπορείτε να μου πείτε γιατί το τιμολόγιο που στείλαμε την περασμένη εβδομάδα δεν έχει πληρωθεί ακόμα;",
    "hi": "क्या आप मुझे बता सकते हैं कि पिछले सप्ताह भेजा गया बिल अभी तक क्यों नहीं चुकाया गया?",
    "zh": "请告诉我，为什么我们上周寄出的发票客户到现在还没有付款？",
    "ja": "先週お送りした請求書がまだ支払われていない理由を教えていただけますか。",
    "ko": "지난주에 보낸 청구서를 고객이 아직 지불하지 않은 이유를 알려 주시겠어요?",
    "th": "ช่วยบอกฉันหน่อยได้ไหมว่าทำไมใบแจ้งหนี้ที่เราส่งไปเมื่อสัปดาห์ที่แล้วยังไม่ได้ชำระ",
}


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_sentence_tells_its_language(name: str) -> None:
    assert identify(SAMPLES[name], 20) == name


@pytest.mark.parametrize(
    "text",
    [
        "ok",
        "Berlin, Paris, London",
        "def f(x): return x + 1  # 4711",
        "https://example.com/a/b?c=d",
        "1234 5678",
        "xqzt vbnm qwrt plkj hgfd",
        "",
        "\ud800\udfff" * 40,
    ],
)
def test_what_says_too_little_is_unknown(text: str) -> None:
    assert identify(text, 20) == "unknown"


def found(
    text: str, *, kind: PartKind = PartKind.TEXT, role: str = "user", **settings: object
) -> list[tuple[str, str]]:
    screen = Screen([policy(RuleUse("language", "language", settings={"allow": ["en", "de"], **settings}))], RULES)
    hits = screen.input.look(Part(text, kind, role, Direction.INPUT))
    return [(hit.finding.label, text[hit.finding.start : hit.finding.end]) for hit in hits]


def test_allowed_languages_pass_and_others_are_found_where_they_stand() -> None:
    english, french = SAMPLES["en"] * 3 + "\n", SAMPLES["fr"]
    assert found(english) == []
    assert found(SAMPLES["de"]) == []
    assert found(english + french) == [("language_fr", french)]


def test_what_is_unknown_passes_unless_it_is_wanted_found() -> None:
    assert found("ok") == []
    assert found("ok", find_unknown=True) == [("language_unknown", "ok")]


def test_data_of_tools_and_system_prompts_are_left_alone() -> None:
    assert found(SAMPLES["fr"], kind=PartKind.TOOL_ARGUMENTS) == []
    assert found(SAMPLES["fr"], role="system") == []
    assert found(SAMPLES["fr"], role="system", skip_system=False) == [("language_fr", SAMPLES["fr"])]


def test_languages_that_nobody_knows_are_refused() -> None:
    assert len(LANGUAGES) >= 12
    with pytest.raises(ValidationError, match="xx"):
        RULES["language"].Settings.model_validate({"allow": ["xx"]})
