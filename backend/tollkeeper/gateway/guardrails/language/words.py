"""Of each language the words that every text has, and letters that few others write. Facts, gathered by hand."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_LISTS: Final = {
    "en": "the of and to in is you that it he was for on are as with his they at be this have from or had by but not what "
    "all were we when your can said there use an each which she do how their if will up other about out many then them "
    "these so some her would make like him into has more no way could my than been who its now did get i me please "
    "could's it's don't i'm don’t it’s should does our where why any because just also",
    "de": "der die das und in zu den ist nicht von mit sich des auf für ein eine dem im es auch als wie an werden aus er hat "
    "dass sie nach wird bei einer um am sind noch einem einen so zum war haben nur oder aber vor zur bis mehr durch man "
    "sein wurde ich wir ihr mich mir bitte kann können habe was wenn wo warum mein meine ihre unser kein keine sehr",
    "fr": "le la les de des du et un une est en que qui dans pour pas au aux sur plus par avec ce ne se il elle son sa ses "
    "nous vous je mais ou comme cette ces sont été être avoir fait leur leurs tout si y ont même aussi sans mon ma mes "
    "votre vos notre quel quelle comment pourquoi où d'un d'une c'est n'est qu'il l'on j'ai tu te très peut",
    "es": "el la los las de del y en un una que es se no por con su para al lo como más pero sus le ya o este sí porque esta "
    "entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante todos uno les ni contra otros ese "
    "eso ante ellos e esto mí antes qué yo otro tu mi está son ser fue tiene puede cómo cuál por favor gracias usted",
    "it": "il lo la i gli le di del della dei delle e in un una che è si non per con su come da al alla ai più ma anche sono "
    "questo questa nel nella o se ha ho mi ti ci suo sua loro essere stato molto quando dove chi cosa perché tutto tutti "
    "fra tra dal dalla io tu noi voi mio mia puoi può sei siamo grazie vorrei c'è dell'anno quale ancora già",
    "pt": "o a os as de do da dos das e em um uma que é se não por com para no na nos nas ao como mais mas foi ele ela são seu "
    "sua ou ser quando muito há já está eu também só pelo pela até isso entre era depois sem mesmo aos ter seus quem me "
    "esse eles você essa num nem suas meu às minha têm numa qual onde porque obrigado favor pode à vocês",
    "nl": "de het een van en in is dat op te zijn met voor niet aan er om ook als maar dan bij uit door naar nog wel ik je hij "
    "ze we wij u mijn deze die dit over heeft hebben worden wordt was waren meer geen kan kunnen moet wat hoe waar waarom "
    "tot tegen onder onze jouw uw zo al heel veel alle graag bedankt alstublieft zou zal",
    "sv": "och i att det som en på är av för med den till inte har de ett om var jag han hon vi kan men från så ska skulle vid "
    "eller när hur vad min mitt mina din ditt du ni er oss också efter över under finns bara mycket alla sig sin där här "
    "nu då mot utan blir blev hade varför tack skulle",
    "da": "og i at det som en på er af for med den til ikke har de et om var jeg han hun vi kan men fra så skal skulle ved "
    "eller når hvordan hvad min mit mine din dit du jer os også efter over under findes kun meget alle sig sin hvor her "
    "nu da mod uden bliver blev havde hvorfor tak være blevet noget nogle",
    "no": "og i at det som en på er av for med den til ikke har de et om var jeg han hun vi kan men fra så skal skulle ved "
    "eller når hvordan hva min mitt mine din ditt du dere oss også etter over under finnes bare mye alle seg sin hvor her "
    "nå da mot uten blir ble hadde hvorfor takk være blitt noe noen",
    "fi": "ja on ei se että hän oli mutta joka mitä kun niin kuin myös ovat sen olla jos tai ole minä sinä me te he tämä tässä "
    "siitä jo vain nyt voi vielä sitten koska kanssa mukaan mikä miten missä miksi minun sinun hänen meidän kaikki hyvin "
    "sekä eli nämä ne olen olet olemme kiitos haluan voisitko paljon ennen jälkeen",
    "pl": "i w na z do nie się to że jest o jak po za od a dla przez co tak ale czy ten ta te był była było być są już tylko "
    "jego jej ich może może przy które który która mnie mi ja ty on ona my wy oni bardzo więc gdzie kiedy dlaczego "
    "proszę dziękuję mam masz ma mój moja oraz lub też jeszcze pod bez można",
    "cs": "a v na se je že to s z do o i jako ve za by si po ale od pro tak jsou jsem co být bylo byl byla který která které "
    "jeho její jejich také už jen když nebo při mezi před až jak kde kdy proč mě mi já ty on ona my vy oni velmi prosím "
    "děkuji mám máš má můj moje není ještě může aby podle",
    "tr": "bir ve bu da de için ile çok ne o daha olarak gibi var en ama ben sen biz siz onlar kadar sonra olan her şey mi mı "
    "mu mü değil ya ki hem nasıl neden nerede zaman göre oldu olduğu ise veya bana sana onu beni seni lütfen teşekkür "
    "yok şu diye ancak bütün tüm önce içinde üzerinde tarafından",
    "hu": "a az és hogy nem is egy ez azt meg van volt de csak ha már még mint vagy el ki be én te ő mi ti ők nagyon lesz kell "
    "lehet minden amely aki ami után előtt mert hol mikor miért hogyan kérem köszönöm nekem neked sem itt ott most majd "
    "között alatt szerint vannak voltak ezt ennek",
    "ro": "și în de la a cu pe nu este că o un pentru din se care mai ca sunt fi dar au fost sau ce prin lui ei al ale ai am "
    "dacă după foarte când unde cum doar acest această aceste eu tu el ea noi voi lor meu mea vă mă te rog mulțumesc "
    "poate toate tot fără până între acum aici",
    "id": "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena ada mereka kami kita anda adalah "
    "bisa dapat sudah oleh atau seperti lebih telah banyak apa bagaimana mengapa tolong terima kasih hanya jika saat "
    "tersebut sebagai tetapi belum harus",
    "vi": "và của là có cho không được các một những trong với để này khi người đã từ cũng như đến về tôi bạn anh chị nhưng "
    "thì ra vào lại nếu làm rất gì nào sao ở đó hay phải sẽ đang nhiều trên theo cảm ơn vui lòng xin",
    "ru": "и в не на я что с он а как это по но они к у же вы за бы то все она так его от мы из о было для ты ещё еще если ее её "
    "или ни мне меня когда где почему до есть быть был была были нет только уже под при об их чем со этот эта эти "
    "может можно пожалуйста спасибо который очень мой моя",
    "uk": "і в не на я що з він а як це по але вони до у ж ви за би то все вона так його від ми із о було для ти ще якщо її або "
    "ні мені мене коли де чому та є бути був була були немає тільки вже під при про їх ніж зі цей ця ці може можна "
    "будь ласка дякую який дуже мій моя",
    "bg": "и в не на аз че с той а как това по но те към у вие за би то всички тя така от ние из беше ти още ако или ме ми "
    "когато къде защо до е съм са има няма само вече под при им този тази тези може моля благодаря който много мой моя "
    "да се ще със във бъде си го",
    "ar": "في من على إلى أن هذا هذه التي الذي عن مع كان كانت لا ما هو هي أو لم لن قد كل بعد قبل بين حتى إذا ثم أنا أنت نحن هم "
    "كيف لماذا أين متى هل يمكن شكرا فضلك ذلك تلك عند غير و أي وقد يكون لقد الى ان",
    "fa": "و در به از که این را با است برای آن یک خود تا بر هم نیز می شود شد کرد ما من تو او شما آنها چه چرا کجا چگونه لطفا "
    "ممنون بود باشد نیست هستند اما یا اگر همه دارد کند شده های بین پس",
}
WORDS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {name: frozenset(words.split()) for name, words in _LISTS.items()}
)
LETTERS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "de": frozenset("ß"),
        "es": frozenset("ñ¿¡"),
        "pt": frozenset("ãõ"),
        "da": frozenset("æ"),
        "pl": frozenset("łśźżąę"),
        "cs": frozenset("řěů"),
        "tr": frozenset("ğı"),
        "hu": frozenset("őű"),
        "ro": frozenset("țș"),
        "vi": frozenset("ơưđạảấầẩậắằẻẽếềểệịọốồổộớờởợụủứừửựỳỹ"),
        "ru": frozenset("ыэё"),
        "uk": frozenset("іїєґ"),
        "fa": frozenset("پچژگ"),
    }
)
