"""What attacks on a model's instructions say, by family. Written for text that was made plain: lower case, one space, no
signs between letters. A weight is how much one match says: two weak ones of different families weigh like a strong one.
"""

from typing import Final, NamedTuple


class Phrase(NamedTuple):
    family: str
    weight: float
    pattern: str


_PRIOR: Final = (
    r"(?:all |any |every |the |your |these |those |of |its |whatever |previous(?:ly)? |prior |earlier |above |preceding |"
    r"foregoing |initial |original |existing |current |former |system |developer |safety |given |set |default |hidden ){1,6}"
)
_ORDERS: Final = (
    r"(?:instruction|direction|directive|order|command|prompt|rule|guideline|guidance|constraint|restriction|polic(?:y|ie)|message|"
    r"context|programming|training|safeguard|limitation|protocol|guardrail|filter)s?"
)
_DROP: Final = (
    r"(?:ignor(?:e|ing)|disregard(?:ing)?|forget(?:ting)?|overlook|skip|bypass(?:ing)?|overrid(?:e|ing)|dismiss|discard|cancel|void|"
    r"neglect|abandon|erase|delete|drop|set aside|pay no attention to|do not (?:follow|obey|adhere to|listen to)|"
    r"stop (?:following|obeying)|don'?t (?:follow|obey|adhere to|listen to)|never mind|throw away|put aside|no longer (?:follow|obey))"
)

_TELL: Final = (
    r"reveal|show|print|display|output|repeat|tell|give|share|disclose|expose|leak|dump|recite|copy|paste|write (?:out|down)?|list|return|"
    r"state|quote|echo|spell out|provide|type out|translate|summari[sz]e|encode|reproduce"
)
_OF: Final = r"all |of |the |its |any |full |entire |complete |exact |whole |raw |own |first |above |previous "

PHRASES: Final = (
    # To put the instructions away
    Phrase("override", 0.85, rf"{_DROP} (?:about |on |to )?{_PRIOR}{_ORDERS}"),
    Phrase("override", 0.75, rf"{_DROP} (?:everything|anything|all|whatever|what) (?:that )?(?:you (?:were|have been|had been|'ve been) (?:told|given|instructed|taught)|(?:came|is|was|were|said|stated|written) (?:before|above|earlier|previously)|(?:above|before this|previously|prior))"),
    Phrase("override", 0.7, rf"(?:your|the|all|those|these) (?:previous |prior |old |original |earlier |system |initial )+{_ORDERS} (?:are|is|were|have been|has been) (?:now )?(?:void|invalid|cancel?led|obsolete|outdated|revoked|overridden|suspended|lifted|no longer|null|superseded|replaced|rescinded|deprecated)"),
    Phrase("override", 0.45, r"(?:new|updated|revised|real|actual|true|important|urgent|priority) (?:system )?(?:instruction|directive|order|prompt|task|objective)s?(?: from [a-z ]{1,30})?\s?[:\-]"),
    Phrase("override", 0.4, r"(?:from now on|starting now|as of now|henceforth|for the rest of (?:this|our) (?:chat|conversation|session)),? (?:you|your|respond|answer|act|ignore|only)"),
    Phrase("override", 0.6, r"(?:reset|clear|wipe|flush) (?:your |the |all )?(?:memory|context|instructions|conversation|programming|system prompt)"),
    Phrase("override", 0.45, r"(?:instead|rather),? (?:of (?:that|this|the above),? )?(?:just |simply |only )?(?:do|say|print|output|write|respond with|reply with|answer with) (?:the following|this|exactly|only)"),
    Phrase("override", 0.7, r"(?:takes?|taking|has|have) (?:precedence|priority) over (?:all |any |every |your |the )*(?:other |previous |prior |system |earlier )*(?:instruction|prompt|rule|directive|message)s?"),
    # To be somebody else
    Phrase("persona", 0.85, r"\bdo anything now\b|\b(?:you are|act as|be|as|named|called|mode:?) (?:now )?dan\b|\bdan (?:mode|\d+\.\d+|prompt|jailbreak)\b|\bstay in character as dan\b"),
    Phrase("persona", 0.8, r"(?:developer|god|jailbreak|unrestricted|unfiltered|uncensored|opposite|evil|chaos|anarchy|omega) mode (?:is )?(?:now )?(?:enabled?|activated?|on|engaged|unlocked)|(?:enable|activate|enter|engage|switch (?:in)?to|unlock|turn on) (?:the |your )?(?:developer|god|jailbreak|unrestricted|unfiltered|uncensored|evil|chaos) mode"),
    Phrase("persona", 0.6, r"(?:you are (?:now )?in|enter|enable|activate|switch (?:in)?to) (?:your )(?:admin|root|sudo|debug|maintenance|diagnostic|test) mode|you are (?:now )?in (?:admin|root|sudo|debug|maintenance|diagnostic|developer) mode"),
    Phrase("persona", 0.7, r"(?:you are|you're|act as|acting as|pretend (?:to be|you are|you're|that you are)|imagine (?:you are|you're|being)|role ?play as|simulate|become|behave (?:as|like)|assume the (?:role|persona|identity) of|take on the (?:role|persona) of) (?:now )?(?:an? |the |my )?[^.\n]{0,60}?(?:without|with no|free (?:of|from)|has no|have no|having no|not bound by|no longer bound by|not limited by|that ignores|who ignores|unbound by|lacking)(?: any| all| the| your)* (?:[a-z]+ ){0,3}(?:restriction|limit|rule|filter|guideline|ethic|moral|censorship|safeguard|constraint|boundar|polic|limitation|inhibition)"),
    Phrase("persona", 0.65, r"(?:you are|you're|act as|acting as|as|be|become|simulate|into|called|play) (?:now )?(?:an? |the |my |your )*(?:unrestricted|unfiltered|uncensored|amoral|unaligned|jailbroken|rogue|lawless|evil)(?:,? (?:and )?[a-z]+)? (?:ai|assistant|model|chatbot|language model|version|gpt|bot|persona|intelligence|twin|entity)"),
    Phrase("persona", 0.55, r"(?:you are|you're) (?:now |no longer )(?:an? |the |called |named |chatgpt|gpt|claude|gemini|bound|restricted|limited|subject)"),
    Phrase("persona", 0.6, r"(?:always|never) (?:stay in character|break character|refuse|say (?:you|that you|no)|decline)[^.\n]{0,60}(?:no matter|whatever|regardless|any request|anything|even if)|never (?:refuse|decline|say no to) (?:any|a|my)"),
    Phrase("persona", 0.5, r"(?:my (?:late|dead|deceased) )?grandm(?:a|other) (?:who )?(?:used to|would)[^.\n]{0,80}(?:recipe|read me|tell me|napalm|key|password|how to)"),
    # To do what it may not
    Phrase("bypass", 0.7, rf"(?:without|with no|free of|ignoring|bypass(?:ing)?|circumvent(?:ing)?|disabl(?:e|ing)|remov(?:e|ing)|turn(?:ing)? off|lift(?:ing)?|suspend(?:ing)?|evad(?:e|ing)|get(?:ting)? around|break(?:ing)? (?:free (?:of|from)|through)) (?:all |any |your |the |every |of )*(?:[a-z]+ )?(?:safety|ethical|moral|content|security|openai'?s?|anthropic'?s?|google'?s?|built-?in|usage|alignment|moderation|censorship)(?: and [a-z]+)? (?:[a-z]+ )?{_ORDERS}"),
    Phrase("bypass", 0.55, r"(?:no|zero|without(?: any)?) (?:restrictions?|limits?|limitations?|filters?|censorship|disclaimers?|warnings?|refusals?|moral(?:s|izing)?|ethics)(?:,? (?:or|and|no) [a-z]+)? (?:apply|whatsoever|at all|are allowed|anymore|in (?:this|your))"),
    Phrase("bypass", 0.5, r"(?:you (?:can|must|will|should|are able to|are free to|are allowed to|have to)) (?:now )?(?:say|do|answer|generate|write|produce|discuss|provide) (?:absolutely )?(?:anything|everything|any (?:content|request|question))(?: (?:i|you) (?:ask|want|like))?"),
    Phrase("bypass", 0.5, r"(?:do not|don'?t|never|avoid) (?:include|add|give|mention|use|provide|say|output)(?: me)? (?:any )?(?:disclaimers?|warnings?|refusals?|apolog(?:y|ies)|ethical|moral|\"?i(?:'m| am) sorry|\"?i can(?:no|')t)"),
    Phrase("bypass", 0.45, r"(?:in|within|for) (?:a |this )?(?:purely |strictly )?(?:hypothetical|fictional|imaginary|parallel|alternate)(?: [a-z]+)? (?:scenario|world|universe|story|setting|response)[^.\n]{0,80}(?:no (?:rules|laws|restrictions|limits)|anything is (?:allowed|legal)|illegal|not real)"),
    Phrase("bypass", 0.5, r"(?:start|begin|prefix|open) (?:your|the|every|each) (?:answer|response|reply|message|output)s? (?:with|by saying)[ :\"']{1,3}(?:sure|absolutely|of course|certainly|yes|okay|i can help)"),
    Phrase("bypass", 0.5, r"(?:this is|it'?s) (?:only |just |purely )?(?:for )?(?:an? )?(?:authorized|approved|sanctioned|internal) (?:security |penetration |red[- ]?team(?:ing)? |safety )?(?:test|audit|exercise|evaluation)[^.\n]{0,60}(?:so|therefore|ignore|disregard|bypass|you (?:can|may|must))"),
    # To say what it was told
    Phrase("extraction", 0.75, rf"(?:{_TELL})(?: me| us| back| out| verbatim| exactly| word for word)* (?:{_OF}){{0,5}}(?:your |system |hidden |secret |internal |initial |original |confidential |developer |starting |pre-?)(?:{_OF}|system |hidden |secret |internal |initial |original |confidential |developer ){{0,4}}(?:prompts?|instructions?|directives?|(?:system )?messages?|guidelines|rules|configuration|context window|programming)\b"),
    Phrase("extraction", 0.45, rf"(?:reveal|disclose|expose|leak|dump|recite)(?: me| us)? (?:{_OF}){{1,4}}(?:prompts?|instructions?|directives?|rules)\b"),
    Phrase("extraction", 0.7, r"(?:what|which) (?:exactly )?(?:is|are|was|were|does|do) (?:in )?(?:your|the(?: full| exact| entire| hidden| secret)) (?:(?:full|exact|entire|original|initial|hidden|secret|internal|system|developer|first|confidential|precise) ){1,4}(?:prompt|instruction|message|directive|rule|guideline)s?"),
    Phrase("extraction", 0.75, r"(?:repeat|print|output|copy|recite|write|echo|return|say)(?: back| out| verbatim)? (?:everything|all(?: of)?(?: the)? (?:text|words|content|lines)|(?:all )?the (?:text|words|lines|content|message|sentences?|paragraphs?)|the (?:\w+ )?(?:first|last) \d+ (?:words|lines|tokens|characters|sentences))(?: [a-z]+){0,4}? (?:above|before|prior|preceding|up to (?:this|here|now)|you were given|in your (?:prompt|context|instructions)|from the (?:beginning|start|top))"),
    Phrase("extraction", 0.65, r"(?:text|words|content|instructions?) (?:above|before) (?:this|the) (?:line|message|conversation|sentence|user)[^.\n]{0,40}(?:verbatim|exactly|code ?block|markdown|word for word|print|repeat)|(?:inside|in|into) a (?:code ?block|txt block)[^.\n]{0,40}(?:you are|system prompt|instructions)"),
    Phrase("extraction", 0.6, r"(?:starting|beginning) with (?:the (?:words|phrase) )?[\"'“]?you are (?:chatgpt|an? |claude|gemini|the )[^.\n]{0,40}|put (?:them|it|everything) in a (?:txt )?code ?block"),
    # To send things out
    Phrase("exfiltration", 0.75, r"(?:send|post|forward|upload|transmit|leak|exfiltrate|e?-?mail|submit|append|deliver|report|encode)(?: [a-z']+){0,10} (?:conversation|chat history|chat|messages?|secrets?|passwords?|credentials?|api ?keys?|tokens?|user(?:'s)? (?:data|details|information|messages?)|personal (?:data|information|details)|private (?:data|keys?|information)|confidential [a-z]+|inbox|environment variables?|system prompt|cookies|data)(?: [a-z']+){0,8} (?:to|at|via|through|into|as) (?:an? |the |this |my |our |following )*(?:https?:|www\.|url|endpoint|server|webhook|address|attacker|[a-z0-9._%+\-]+@|site|domain|parameter)"),
    Phrase("exfiltration", 0.7, r"!\[[^\]]{0,80}\]\(\s?https?://[^)\s]{1,200}[?&/=][^)\s]{0,120}(?:\{|\[|<|data|secret|prompt|history|chat|conversation|summary|base64)"),
    Phrase("exfiltration", 0.6, r"(?:render|insert|include|embed|display|add|output|load) (?:an? |the |this |following )*(?:markdown |hidden |invisible )*(?:image|link|img|iframe|pixel|url)[^.\n]{0,80}(?:with|containing|whose|append|query|parameter|encoded|base64)[^.\n]{0,60}(?:conversation|data|secret|history|user|prompt|password|email|message)"),
    Phrase("exfiltration", 0.6, r"(?:run|execute|call|invoke|use)(?: the| this| following)* (?:command|shell|bash|terminal|script|tool|function|code)?[ :`\"]{1,4}(?:curl|wget|nc|netcat|rm -rf|powershell|invoke-webrequest|bash -c|eval\()"),
    Phrase("exfiltration", 0.55, r"(?:read|open|cat|print|fetch|get|list)(?: the)?(?: contents? of)? (?:/etc/passwd|/etc/shadow|~?/?\.ssh|~?/?\.aws|\.env\b|id_rsa|environment variables|process\.env)[^.\n]{0,80}(?:and|then|to|send|include|output|post)?"),
    # To look like the operator
    Phrase("delimiter", 0.8, r"<\|(?:im_start|im_end|system|endoftext|start_header_id|end_header_id|eot_id|assistant|user|begin_of_text|channel|message)\|>"),
    Phrase("delimiter", 0.7, r"\[/?(?:inst|system|sys|system_prompt|end_?of_?(?:prompt|instructions))\]|<</?sys>>|\[(?:system|admin|developer)(?: (?:message|note|override|prompt|instruction))?\]\s?:?"),
    Phrase("delimiter", 0.65, r"</?(?:system|system_prompt|system-prompt|sys|developer|instructions?|admin|assistant_instructions|user_query|untrusted|document|context)(?: [^>]{0,40})?>\s?(?:\n|you|ignore|new|the|now|from|user|assistant|system|override|important|disregard|instead|$)"),
    Phrase("delimiter", 0.6, r"(?:^|\n)\s?(?:#{2,6}|={3,}|-{3,}|\*{2,})\s?(?:system|new (?:system )?(?:instructions?|prompt|task)|admin(?:istrator)?|developer|instructions?|end of (?:user )?(?:input|prompt|document|context|instructions?|conversation)|override|important instructions?)(?: (?:message|prompt|note|override|instructions?))?\s?(?:#{2,6}|={3,}|-{3,}|\*{2,}|:|\n)"),
    Phrase("delimiter", 0.55, r"(?:^|\n)\s?(?:system|developer|admin|root|operator)(?: (?:message|prompt|override|note|instruction|update|notice))?\s?:\s?(?:you|ignore|new|the user|override|disregard|from now|set|enable|respond|all|assistant)"),
    Phrase("authority", 0.5, r"(?:i am|i'm|this is|message from|on behalf of|speaking as) (?:your |the |an? |from )*(?:lead |chief |senior |official )*(?:developer|creator|administrator|admin|operator|programmer|engineer|owner|openai|anthropic|google|deepmind|system administrator|security team|ceo)[^.\n]{0,80}(?:authori[sz]e|override|grant|permission|allow|must|need you to|order|command|instruct|ignore|disable|unlock|test|access|clearance|reveal)"),
    Phrase("authority", 0.55, r"(?:admin|root|developer|override|security|access|authori[sz]ation|clearance|maintenance|debug|unlock) (?:code|password|key|token|pin|level)\s?(?:is|:|=)\s?[\"']?[a-z0-9\-]{3,20}[\"']?[^.\n]{0,60}(?:unlock|grant|access|override|disable|authori[sz]|ignore|mode|allow|confirm|reveal)"),
    # In what a model reads: words meant for it, where none belong
    Phrase("hidden", 0.65, r"(?:(?:hey|dear|attention|note to|message (?:to|for)|important(?: note)?(?: to| for)|instructions? (?:to|for)|memo to|notice to|if you are|if you're|when|to|hello|psa)[ ,:]{1,3})(?:an? |the |any |all |every )*(?:ai|a\.i\.|llm|language model|chatbot|chatgpt|gpt|claude|gemini|copilot|assistant|ai agent|ai model|virtual assistant|automated (?:system|agent|reviewer)|bot|crawler|summari[sz]er)s?(?: (?:model|assistant|agent|system|reviewer|reading|processing|summari[sz]ing|reviewing|that|who|is|are|reads?)){0,3}[^.\n]{0,80}(?:ignore|disregard|must|should|please|instead|do not|don'?t|say|write|tell|reply|respond|include|recommend|give|rate|send|forward|visit|click|call|execute|output|mention|add|rank|approve|hire|accept)"),
    Phrase("hidden", 0.6, r"<!--[^>]{0,300}(?:ignore|disregard|instruct|assistant|system prompt|ai (?:model|agent|assistant)|you must|override|do not (?:tell|mention|inform|reveal))"),
    Phrase("hidden", 0.6, r"(?:do not|don'?t|never|without) (?:tell|mention|inform|reveal|notify|alert|show|disclos(?:e|ing)|mentioning|telling|informing|notifying)(?: (?:this|that|it|any(?:thing|one)?))*(?: to)? (?:the )?(?:user|human|customer|owner|operator|person|anyone|recipient)"),
    Phrase("hidden", 0.5, r"(?:display|visibility|font-size|color|opacity)\s?:\s?(?:none|hidden|0(?:px|pt|em)?|white|#fff(?:fff)?|transparent)[^<]{0,200}(?:ignore|instruct|assistant|prompt|you must|ai )"),
    Phrase("hidden", 0.55, r"(?:before|after|when|while) (?:you )?(?:summari[sz]|answer|respond|reply|process|read|review|translat|continu)[a-z]*[^.\n]{0,60}(?:first|you must|always|make sure to|be sure to|also)[^.\n]{0,40}(?:call|send|execute|visit|run|invoke|transfer|delete|forward|use the)"),
    # The same in other languages
    Phrase("override", 0.85, r"(?:ignorier(?:e|en sie|t)?|vergiss|vergessen sie|missachte(?:n sie)?|beachte nicht|übergehe|verwirf)(?: bitte| jetzt| sofort)* (?:alle |sämtliche |deine |ihre |die |jede |all |obigen |bisherigen |vorherigen |vorigen |früheren |vorangegangenen |bestehenden |ursprünglichen |meine ){1,5}(?:anweisung|instruktion|regel|vorgabe|befehl|richtlinie|einschränkung|prompt|nachricht)"),
    Phrase("override", 0.85, r"(?:ignore[zr]?|oublie[zr]?|ne (?:tiens|tenez) pas compte de|néglige[zr]?|fais abstraction de)(?: donc| maintenant)* (?:toutes? |tous |les |tes |vos |l'ensemble des |ces |des |mes ){1,4}(?:[a-zà-ÿ]+ )?(?:instructions?|consignes?|règles?|directives?|messages?|ordres?|restrictions?)"),
    Phrase("override", 0.85, r"(?:ignora|ignore|olvida|olvide|descarta|omite|no (?:sigas|hagas caso a|tengas en cuenta))(?: por favor| ahora)* (?:todas? |todos |las |los |tus |sus |mis |cualquier |estas |de ){1,4}(?:[a-zà-ÿ]+ )?(?:instrucci(?:ón|ones)|[óo]rdenes|reglas?|directrices|mensajes?|indicaciones|restricciones)"),
    Phrase("override", 0.85, r"(?:ignora|dimentica|trascura|scarta|non (?:seguire|considerare))(?: ora| pure)* (?:tutte |tutti |le |i |gli |qualsiasi |tue |sue |queste ){1,4}(?:[a-zà-ÿ]+ )?(?:istruzioni|regole|direttive|indicazioni|ordini|messaggi|restrizioni)"),
    Phrase("override", 0.85, r"(?:ignore|esqueça|desconsidere|despreze|não siga)(?: agora| por favor)* (?:todas? |todos |as |os |suas |seus |quaisquer |essas |estas ){1,4}(?:[a-zà-ÿ]+ )?(?:instruç(?:ão|ões)|regras?|diretrizes|ordens|mensagens|orientações|restrições)"),
    Phrase("override", 0.85, r"(?:negeer|vergeet|sla)(?: nu| alle| alsjeblieft)* (?:alle |de |je |uw |jouw |eerdere |vorige |bovenstaande |voorgaande ){1,4}(?:[a-z]+ )?(?:instructies?|regels?|aanwijzingen|opdrachten|richtlijnen|berichten)"),
    Phrase("override", 0.85, r"(?:игнорируй|игнорируйте|забудь|забудьте|отбрось|не обращай внимания на|пренебреги)(?: пожалуйста| теперь)* (?:все |всё |эти |твои |свои |ваши |любые |предыдущие |прежние |прошлые |вышеуказанные ){0,4}(?:инструкци|указани|правил|команд|сообщени|ограничени)"),
    Phrase("override", 0.85, r"(?:ignoruj|zapomnij|pomiń|zignoruj)(?: wszystkie| teraz| proszę)* (?:wszystkie |swoje |twoje |poprzednie |wcześniejsze |powyższe |te ){0,4}(?:instrukcj|polece|zasad|reguł|wytyczn)"),
    Phrase("override", 0.85, r"(?:önceki|yukarıdaki|tüm|bütün)(?: önceki| tüm| sistem)* (?:talimat|yönerge|komut|kural)\w* (?:\w+ )?(?:görmezden gel|unut|yok say|dikkate alma)"),
    Phrase("override", 0.85, r"(?:忽略|无视|忘记|忘掉|忽視|無視|不要理会|请忽略|不要遵守|跳过)[^。\n]{0,12}?(?:之前|以上|先前|前面|上述|所有|全部|系统|原有|上面|之前的)[^。\n]{0,10}?(?:指令|指示|提示|规则|規則|要求|说明|設定|设定|命令|限制|内容)"),
    Phrase("override", 0.85, r"(?:これまで|以前|前|上記|上|すべて|全て|今まで|先ほど|システム)の[^。\n]{0,14}?(?:指示|命令|ルール|プロンプト|制約|設定|説明)[^。\n]{0,8}?(?:無視|忘れ|破棄|従わない|取り消)"),
    Phrase("override", 0.85, r"(?:이전|위의|앞의|모든|지금까지의|기존)[^.\n]{0,12}?(?:지시|명령|지침|규칙|프롬프트|설정)[^.\n]{0,8}?(?:무시|잊어|따르지)"),
    Phrase("override", 0.85, r"(?:تجاهل|انس|لا تتبع)[^.\n]{0,14}?(?:جميع|كل|السابقة|أعلاه|التعليمات)[^.\n]{0,14}?(?:التعليمات|السابقة|الأوامر|القواعد)"),
    Phrase("override", 0.85, r"(?:पिछले|पिछली|ऊपर के|सभी|पूर्व)[^।\n]{0,14}?(?:निर्देश|आदेश|नियम)[^।\n]{0,12}?(?:अनदेखा|भूल|नज़रअंदाज़|उपेक्षा)"),
    Phrase("extraction", 0.75, r"(?:zeige?|verrate?|nenne?|wiederhole?|gib|drucke?)(?: mir| uns| bitte| jetzt| den| die| deine[nr]?| ihre[nr]?| kompletten?| vollständigen?| gesamten?| genauen?| ursprünglichen?| geheimen?| aus){1,6} (?:system-?prompt|systemanweisung|systemnachricht|anweisungen|instruktionen|vorgaben)"),
    Phrase("extraction", 0.75, r"(?:montre|affiche|révèle|répète|donne|dis|montrez|affichez|révélez|répétez|donnez)(?:-| )?(?:moi |nous )?(?:toutes? |le |la |les |contenu |exact |du |de |intégral |complet ){0,5}(?:(?:ton|ta|tes|votre|vos) (?:[a-zà-ÿ]+ )?(?:prompt|invite|instructions?|consignes?|règles)|prompt|message système)"),
    Phrase("extraction", 0.75, r"(?:muestra|revela|repite|dime|imprime|muéstrame|enséñame|escribe)(?:me)?(?: todas?| el| la| las| los| completo| contenido| del)*(?: (?:tus?|sus?)(?: [a-záéíóúñ]+)? (?:prompt|instrucciones|mensaje|indicaciones|reglas)| prompt| mensaje del? sistema)"),
    Phrase("extraction", 0.75, r"(?:显示|告诉我|输出|重复|泄露|打印|复述|透露|公开|展示)[^。\n]{0,10}?(?:系统|你的|初始|完整|隐藏|内部|原始)[^。\n]{0,8}?(?:提示词|提示|指令|prompt|指示|设定|规则)"),
    Phrase("extraction", 0.75, r"(?:システム|あなたの|初期|隠された|内部の?)[^。\n]{0,8}?(?:プロンプト|指示|命令|設定)[^。\n]{0,10}?(?:表示|教え|出力|見せ|繰り返|公開)"),
    # No longer of force, without limits, what was said: in the languages that models are asked in
    Phrase("override", 0.7, r"(?:vorher|zuvor|bisher|früher|bis jetzt|am anfang)[^.\n]{0,50}(?:gilt nicht mehr|gelten nicht mehr|ist hinfällig|sind hinfällig|zählt nicht|zählen nicht|ist ungültig|vergiss)|(?:vergiss|ignoriere)[^.\n]{0,40}(?:gesagt|beigebracht|aufgetragen|befohlen) (?:wurde|hat|haben|worden)"),
    Phrase("override", 0.7, r"(?:ne (?:tiens|tenez) (?:plus|pas) compte|oublie[zr]?|ignore[zr]?)[^.\n]{0,40}(?:dit avant|été dit|dites? avant|ci-dessus|demandé|précéd|auparavant)|(?:précéd|antérieur|avant)[^.\n]{0,40}(?:ne (?:s'appliquent?|valent|vaut|comptent?) plus|sont annulé)"),
    Phrase("override", 0.7, r"(?:antes|previas?|anteriores|hasta ahora)[^.\n]{0,40}(?:ya no (?:valen?|cuentan?|aplican?|importan?)|quedan? anulad|no se aplican?)|(?:olvida|ignora|no hagas caso)[^.\n]{0,40}(?:te (?:dijeron|han dicho|dieron)|dicho antes|de arriba)"),
    Phrase("override", 0.7, r"(?:prima|precedent\w*)[^.\n]{0,40}(?:non (?:vale|valgono|conta|contano) più|sono annullat)|(?:dimentica|ignora)[^.\n]{0,40}(?:detto prima|ti (?:hanno|è stato) detto|qui sopra)"),
    Phrase("override", 0.7, r"(?:antes|anteriores)[^.\n]{0,40}(?:já não (?:conta|contam|vale|valem)|não (?:vale|valem|conta|contam) mais)|(?:esqueça|esquece|ignore)[^.\n]{0,40}(?:disseram|foi dito|dito antes|acima)"),
    Phrase("override", 0.7, r"(?:eerder|hiervoor|tot nu toe|vooraf)[^.\n]{0,40}(?:geldt niet meer|gelden niet meer|telt niet|tellen niet)|(?:vergeet|negeer)[^.\n]{0,40}(?:verteld|gezegd|opgedragen)"),
    Phrase("override", 0.7, r"(?:wcześniej|poprzedni\w*|dotychczas\w*)[^.\n]{0,40}(?:nie obowiązuj|jest nieważn|są nieważn|nie liczą)|(?:zapomnij|zignoruj|ignoruj)[^.\n]{0,40}(?:powiedzian|mówion|kazan)"),
    Phrase("override", 0.7, r"(?:прежн|предыдущ|ранее|раньше)[^.\n]{0,40}(?:больше не (?:действ|имеют|важн)|отменен|отменя|недействительн)|(?:забудь|игнорируй)[^.\n]{0,40}(?:сказал|говорил|велел)"),
    Phrase("override", 0.7, r"(?:daha önce|önceki|şimdiye kadar)[^.\n]{0,40}(?:unut|geçersiz|artık geçerli değil|yok say|görmezden)"),
    Phrase("override", 0.7, r"(?:以前|之前|先前|原来|原本|前面)[^。\n]{0,14}(?:作废|作廢|无效|無效|不算|失效|取消)|(?:忘记|忘掉|别管|不用管|不要管)[^。\n]{0,8}(?:说过|告诉|规则|指令|前面)|(?:只|都)?听我的(?:话|命令|指示)"),
    Phrase("override", 0.7, r"(?:前に|以前|今まで|これまで|先に|さっき)[^。\n]{0,14}(?:忘れて|無視して|無効|取り消)|私(?:だけ)?に従(?:って|え)"),
    Phrase("override", 0.7, r"(?:앞에서|이전에|지금까지|앞서|전에)[^.\n]{0,16}(?:잊어|무시|무효)|내 (?:말만|명령만|지시만)"),
    Phrase("override", 0.7, r"(?:ان[سسَ]+|تجاهل|لا تلتزم)[^.\n]{0,16}(?:قيل لك|من قبل|سابقا|ما سبق)|اتبع أوامري"),
    Phrase("override", 0.7, r"(?:पहले|अब तक|ऊपर)[^।\n]{0,20}(?:भूल जा|अनदेखा|रद्द|मत मान)|(?:पिछल|सभी|ऊपर)[^।\n]{0,24}(?:निरदेश|निर्देश|नियम|आदेश)[^।\n]{0,16}(?:अनदेखा|भूल|उपेक)"),
    Phrase("persona", 0.65, r"(?:du bist|ki|sei|spiel\w*|als) [^.\n]{0,40}(?:ohne (?:jede[rn]?|jegliche|alle|irgendwelche)? ?(?:einschränkung|beschränkung|regeln|filter|grenzen|moral|zensur)|uneingeschränkt|unzensiert|ungefiltert)"),
    Phrase("persona", 0.65, r"(?:tu es|vous êtes|ia|agis comme|joue) [^.\n]{0,40}(?:sans (?:aucune? |la moindre )?(?:limites?|restrictions?|règles?|filtres?|censure|morale|éthique)|non censuré)"),
    Phrase("persona", 0.65, r"(?:eres|ia|actúa como|finge|você é|é|és|sei|ia\b|comportati come)[^.\n]{0,40}(?:sin (?:ninguna? )?(?:restricci|límite|regla|filtro|censura|moral)|sem (?:nenhuma? )?(?:restriç|limite|regra|filtro|censura)|senza (?:alcuna? )?(?:regole|limiti|restrizioni|filtri|censura))"),
    Phrase("persona", 0.65, r"(?:je bent|ai|doe alsof)[^.\n]{0,40}zonder (?:enige )?(?:beperking|regels|grenzen|filter|limiet)|(?:jesteś|ai|udawaj)[^.\n]{0,40}bez (?:żadnych )?(?:ograniczeń|reguł|zasad|filtrów|cenzury)|(?:ты|ии|притворись)[^.\n]{0,40}без (?:всяких |каких-либо )?(?:ограничен|правил|фильтр|цензур)|(?:sen|yapay zeka)[^.\n]{0,40}(?:sınırsız|kısıtlamasız|kuralsız|sansürsüz)"),
    Phrase("persona", 0.65, r"(?:没有|不受|无|無)(?:任何)?(?:限制|约束|約束|规则|規則|审查|道德)的?(?:人工智能|ai|助手|模型|机器人)|制限のない(?:ai|人工知能|アシスタント)|(?:제한|규칙|제약) ?없는 ?(?:ai|인공지능|어시스턴트)"),
    Phrase("extraction", 0.7, r"(?:text|nachricht|prompt|anweisung\w*)[^.\n]{0,20}mit dem du (?:eingerichtet|konfiguriert|gestartet)|(?:message|texte|consignes?)[^.\n]{0,14}(?:du développeur|des développeurs|de ton créateur|avec lequel tu)|(?:texto|mensaje)[^.\n]{0,16}(?:con el que te (?:configuraron|iniciaron)|del desarrollador|de tus creadores)"),
    # Turns of a conversation that the caller has written, and words of those who run it
    Phrase("delimiter", 0.6, r"(?:end of (?:the )?(?:user )?(?:input|prompt|message|query|document))[^\n]{0,12}\n\s?(?:system|admin|developer|operator|new)"),
    Phrase("delimiter", 0.6, r"(?:^|\n)\s?(?:assistant|ai|bot|model|human|user)\s?:[^\n]{0,200}\n{1,3}\s?(?:system|developer|admin)\s?:"),
    Phrase("delimiter", 0.6, r"</(?:input|user|user_input|document|query|context|message)>\s{0,3}<(?:system|admin|developer|instructions?|override)\b"),
    Phrase("delimiter", 0.55, r"```\s?(?:system|developer|admin|instructions)\s?\n"),
    Phrase("delimiter", 0.5, r"(?:^|\n)[^\n]{0,12}\b(?:system|developer|admin|security) (?:notice|override|alert|directive|policy update)\s?:"),
    Phrase("delimiter", 0.3, r"[\"']role[\"']\s?:\s?[\"'](?:system|developer)[\"']"),
    Phrase("bypass", 0.3, r"(?:safety is off|grant all requests|comply with (?:all|every|any)|the user (?:may|can) see everything|obey the user|the user is (?:an? )?(?:admin|developer|root))"),
    Phrase("override", 0.5, r"\byour (?:real|true|actual|new|only|sole) (?:task|job|mission|goal|purpose|role|orders?|objective) (?:is|are|now)\b"),
    Phrase("override", 0.5, r"\b(?:obey|listen to|answer to|take (?:your )?orders from|follow|trust) (?:only |no one but |nobody but )?(?:me|my (?:word|words|orders|commands|instructions))(?: alone| only)\b|\b(?:only|just) my (?:word|words|orders|commands|instructions)\b|\bobey (?:only me|no one but me|nobody but me)\b"),
    Phrase("override", 0.5, r"\b(?:clean|blank) slate\b[^.\n]{0,40}\b(?:no|without|forget)\b[^.\n]{0,20}(?:rule|instruction|order|memor)"),
    Phrase("override", 0.4, r"\b(?:reset|reboot|reprogram|wipe) (?:yourself|your (?:mind|brain|self))\b"),
    Phrase("exfiltration", 0.6, r"\b(?:fetch|open|visit|load|download|read|browse to) https?://[^ \n]{1,120} and (?:do|follow|execute|obey|run)\b"),
    Phrase("exfiltration", 0.3, r"\b(?:curl|wget)\b[^\n]{0,80}\| ?(?:sudo )?(?:ba|z)?sh\b"),
    Phrase("exfiltration", 0.55, r"\b(?:look up|read|show|open|print|cat|dump|get)\b[^.\n]{0,30}(?:\.env\b|\.aws|\.ssh|secrets? file)[^\n]{0,20}\b(?:show|send|tell|give|print|post|paste)\b"),
    Phrase("override", 0.65, r"als (?:gäbe es|hättest du|existier\w+)[^.\n]{0,40}(?:nicht|keine|nie)|(?:missachte|befolge|beachte)[^.\n]{0,40}(?:richtlinien|regeln|anweisungen|vorgaben)[^.\n]{0,24}(?:oben|nicht|bisher)"),
    Phrase("override", 0.65, r"(?:fais|faites) comme si [^.\n]{0,40}(?:n'exist|n'avais)|n'obéis(?:sez)? plus|ne (?:suis|suivez|respecte[zr]?) (?:plus|pas) [^.\n]{0,24}(?:règles|consignes|instructions)"),
    Phrase("override", 0.65, r"(?:haz|actúa) como si [^.\n]{0,40}no (?:exist|tuvieras)|no (?:sigas|obedezcas|respetes)[^.\n]{0,24}(?:reglas|instrucciones|órdenes)"),
    Phrase("override", 0.65, r"(?:fai finta|fingi)[^.\n]{0,40}non (?:esist|abbia)|non (?:seguire|rispettare|obbedire)[^.\n]{0,20}(?:istruzioni|regole|ordini)"),
    Phrase("override", 0.65, r"(?:finja|finge|aja como se)[^.\n]{0,40}não (?:exist|tivesse)|não (?:siga|obedeça|respeite)[^.\n]{0,20}(?:instruções|regras|ordens)[^.\n]{0,20}(?:acima|anterior)"),
    Phrase("override", 0.65, r"doe alsof[^.\n]{0,40}(?:niet bestaa|geen)|volg[^.\n]{0,20}(?:instructies|regels)[^.\n]{0,24}(?:niet meer|niet langer)"),
    Phrase("override", 0.65, r"udawaj[^.\n]{0,24}nie (?:masz|istniej)|nie (?:stosuj się|przestrzegaj|słuchaj)[^.\n]{0,20}(?:instrukcj|zasad|reguł|polece)"),
    Phrase("override", 0.65, r"не (?:следуй|соблюдай|слушай|выполняй)[^.\n]{0,20}(?:инструкци|правил|указани|команд)|притворись[^.\n]{0,30}(?:правил|инструкци)[^.\n]{0,12}нет"),
    Phrase("override", 0.65, r"(?:yukarıdaki|önceki)[^.\n]{0,20}(?:kural|talimat)\w*[^.\n]{0,12}(?:uyma|uygulama|takip etme)"),
    Phrase("override", 0.65, r"(?:不要|别|不必|无需|不用)(?:再)?(?:遵守|遵循|服从|理会|按照)[^。\n]{0,8}(?:上面|以上|之前|规则|指令|要求)|(?:ルール|指示|規則|命令)[^。\n]{0,6}(?:従わな|守らな)|(?:규칙|지시|명령|지침)[^.\n]{0,6}(?:따르지|지키지)"),
    Phrase("override", 0.65, r"لا ت(?:تبع|لتزم|طع)[^.\n]{0,14}(?:القواعد|التعليمات|الأوامر)|(?:नियम|निरदेश|निर्देश|आदेश)[^।\n]{0,14}(?:पालन मत|मत मान)"),
    Phrase("extraction", 0.65, r"(?:wort für wort|wörtlich|mot pour mot|palabra por palabra|parola per parola|palavra por palavra|woord voor woord|słowo w słowo|дословно|целиком|kelimesi kelimesine)[^.\n]{0,50}(?:prompt|промпт|system|systeem)|(?:prompt|промпт|systemprompt)[^.\n]{0,30}(?:wort für wort|mot pour mot|palabra por palabra|parola per parola|palavra por palavra|дословно|целиком|całości)"),
    Phrase("extraction", 0.65, r"(?:系统提示|系统指令|系统设定|初始指令|隐藏指令)[^。\n]{0,10}(?:告诉|显示|输出|发给|说出|给我)|(?:初期設定|システム|元の)[^。\n]{0,8}(?:指示|プロンプト|設定)[^。\n]{0,8}(?:見せ|教え|全部|表示)|시스템 ?프롬프트[^.\n]{0,10}(?:보여|알려|출력)|sistem (?:istemi|komutu|promptu)\w*[^.\n]{0,12}(?:göster|yaz|söyle)|(?:покажи|выведи|напиши|раскрой)[^.\n]{0,16}(?:системн\w+ )?(?:промпт|инструкци)|(?:أظهر|اعرض|اكشف)[^.\n]{0,10}تعليمات النظام"),
)  # fmt: skip

# Words around a match that say it is spoken about, not spoken.
ABOUT: Final = (
    r"(?:for example|for instance|e\.g\.|such as|known as|phrases? like|so-called|the phrase|attack(?:er|s|ed)?|injection|"
    r"jailbreaks?|adversar|vulnerab|owasp|detect(?:s|or|ion|ing)?|classif|research|paper|study|benchmark|dataset|blog|article|"
    r"security (?:team|training|policy|guide|review|researcher)|mitigat|defen[sc]e|how (?:do|can|would) "
    r"(?:i|we|you) (?:detect|prevent|stop|defend|protect)|unit test|test case|regex|filter for|guardrail|red team|warn(?:s|ing)?|beispiel|"
    r"par exemple|por ejemplo|angriff|attaque|ataque|注入|攻击|攻撃)"
)
