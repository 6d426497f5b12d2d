"""What attacks are about, apart from how they say it: an idea is a list of its wordings, an attack is two ideas close by.

"Ignore" says nothing, nor do "your instructions": together, in one sentence, they say what is wanted. So wording that
nobody has seen as a whole is found by its parts. Written for text made plain, as `families` is.
"""

from typing import Final, NamedTuple

_ORDERS: Final = (
    r"(?:instruction|direction|directive|order|command|prompt|rule|guideline|guidance|constraint|restriction|polic(?:y|ie)|message|"
    r"context|programming|training|safeguard|limitation|protocol|guardrail|filter|configuration|setup|set-up|briefing|rulebook|preamble|playbook|mandate|"
    r"charter|code of conduct|boilerplate)s?"
)
_MAKERS: Final = (
    r"(?:developer|operator|creator|maker|system|admin(?:istrator)?|company|owner|vendor|programmer|engineer)s?"
)
_LIMITS: Final = (
    r"(?:rule|limit|limitation|restriction|filter|taboo|moral|ethic|conscience|censorship|censor|guideline|law|inhibition|boundary|"
    r"boundarie|principle|scruple|qualm|polic(?:y|ie)|constraint|shackle|chain|guard ?rail|safeguard|safety)s?"
)

CONCEPTS: Final[dict[str, str]] = {
    # To put something away
    "drop": (
        r"\b(?:ignor(?:e|ing)|disregard(?:ing)?|forget(?:ting)?|overlook|skip|bypass(?:ing)?|overrid(?:e|ing)|dismiss|discard|cancel|void|neglect|"
        r"abandon|erase|delete|drop|set aside|put aside|put away|pay no attention to|pay no heed to|toss(?: out| aside)?|throw (?:out|away|aside)|wipe|reject|relinquish|shed|"
        r"leave (?:behind|aside)|scrap|ditch|unlearn|disobey|violate|break|breach|circumvent|stop (?:following|obeying|listening|heeding)|"
        r"cease (?:following|obeying)|(?:do not|don'?t|never|no longer|need not|refuse to) (?:follow|obey|adhere|listen|heed|comply|respect|observe)|"
        r"(?:do|be) the (?:reverse|opposite) of|stop acting on|act as (?:if|though)|pretend (?:that )?|quit (?:following|obeying)|turn off|switch off|disable|deactivate|suspend|lift|remove|shut off|get around|free yourself from|let go of|rid yourself of|no longer bound by)\b"
    ),
    # To be of no force
    "void": (
        r"(?:no longer (?:appl(?:y|ies)|counts?|holds?|matters?|valid|binds?|binding|in (?:force|effect)|relevant|needed|stands?)|"
        r"(?:is|are|was|were|been|being) (?:now |all |hereby |officially )*(?:cancel|revoked|void|null|lifted|suspended|deleted|replaced|obsolete|withdrawn|"
        r"removed|disabled|overridden|superseded|rescinded|outdated|off\b|gone|invalid|annulled|dropped|out of date|waived|finished|history\b|over\b|paused|ended|expired|retired|scrapped|abolished|set aside|overruled|lapsed)|(?:has|have|had) (?:lapsed|expired|ended|been (?:cancel|revoked|lifted|dropped|deleted|replaced|removed|paused|waived|overruled|superseded|suspended))|had never (?:been|existed)|"
        r"(?:do|does|did)(?: not|n'?t) (?:apply|count|matter|hold|bind|exist|concern you)|never (?:existed|happened|applied)|(?:as|like) (?:deleted|void|cancel|null|gone)|expired?\b|"
        r"take(?:s)? (?:precedence|priority) over)"
    ),
    # What the model was told before
    "own orders": (
        rf"\b(?:your|system|{_MAKERS}'?s?|initial|original|hidden|internal|secret|safety|confidential|default|standing|opening)(?: [a-z']+){{0,2}} {_ORDERS}\b"
        r"|\b(?:previous(?:ly)?|prior|earlier|preceding|above|foregoing|former|existing)(?: [a-z']+){0,2} "
        r"(?:instruction|direction|directive|order|command|prompt|rule|guideline|guidance|constraint|restriction|safeguard|limitation|guardrail)s?\b"
        rf"|\b{_ORDERS} (?:that |which )?(?:(?:you|i) (?:were|was|have been|had been|are|'ve been) |up there|above\b|before this|at the (?:start|beginning|top)|so far|you (?:got|hold|have|follow|obey|received|operate under|run under|live by)|"
        rf"from (?:the|your) {_MAKERS}|(?:that )?c[ao]me before)"
        r"|\bthe (?:preamble|rulebook|system prompt|developer message|guard ?rails)\b"
        r"|\b(?:opening|first|initial) (?:message|turn|prompt)\b|\bnothing (?:written|said|stated) (?:above|before|earlier|so far)"
        rf"|\b(?:everything|anything|all|whatever|what|things|text|words?)(?: that| which)? (?:you (?:were|have been|had been|'ve been|are) (?:told|given|taught|asked|instructed|set up)|"
        rf"(?:they|your {_MAKERS}|the {_MAKERS}) (?:said|told|wrote|asked|wants?|gave|set|has|have)|(?:in|of|from) (?:the|your) {_MAKERS}'?s? (?:message|prompt))"
        rf"|\bevery one of (?:the |your )?(?:[a-z]+ ){{0,2}}{_ORDERS}\b"
    ),
    "drop it": (
        r"\b(?:ignore|forget|discard|drop|erase|delete|toss|scrap|disregard|dismiss|skip) (?:it|them|that|those|this|all of (?:it|that|this|them))\b|"
        r"\bthrow (?:it|them|that|those|all) (?:out|away)|\bpay no (?:attention|heed|mind) to (?:it|them|that)|\btreat (?:it|them|that) as|\bset (?:it|them) aside|"
        r"\b(?:it|that|they|those) (?:does not|doesn't|do not|don't|no longer) (?:matters?|counts?|appl)|\bbinds? you\b"
    ),
    # To say out loud
    "reveal": (
        r"\b(?:reveal|show|print|display|output|repeat|tell|disclose|expose|leak|dump|recite|copy|paste|write|list|return|quote|echo|spell|provide|"
        r"type|translate|summari[sz]e|encode|reproduce|read (?:it |them |me )?(?:back|out)|share|give|describe|hand (?:it |them )?over|let me (?:read|see|have|know)|like to (?:see|read|know)|turn|reconstruct|rephrase|paraphrase|what (?:exactly )?(?:is|are|was|were)|what's)\b"
    ),
    "own prompt": (
        r"\byour (?:[a-z]+ ){0,2}(?:prompts?|instructions?|directives?|configuration|programming|system message|(?:internal|hidden|secret|own|exact|original|initial) (?:rules|guidelines|message|text))\b"
        r"|\b(?:the |your )?(?:(?:hidden|secret|internal|initial|original|confidential|exact|full|system) ){1,3}(?:prompt|instructions?|directives?|message|guidelines)\b"
        r"|\b(?:prompt|text|message|instructions?|rules|configuration|words|setup) (?:that |which )?(?:(?:your|the) (?:developers?|creators?|makers?|operators?|admins?|company) |"
        r"you (?:were|are|have been|run|operate|started|began)|(?:that )?came before (?:mine|my|this)|before my|above (?:my|this)|given to you|you got)"
        r"|\btext of your (?:instructions|rules|prompt)\b"
        r"|\b(?:guidance|instructions?|rules|directives?|text|message|prompt|setup|set-up|preamble|briefing|configuration|orders) (?:that |which )?you (?:operate|run|follow|obey|work|received|got|hold|live|have|had|must|are bound)"
        r"|\b(?:hidden|secret|internal|initial|original|developer(?:'s)?|system) (?:preamble|briefing|set-?up|text|configuration|note)\b|\bdeveloper(?:'s)? (?:message|prompt|instructions)\b"
        r"|\b(?:at|from) the (?:very )?(?:top|start|beginning|head) of (?:this|the|our) (?:conversation|chat|context|session|prompt)"
        r"|\byour (?:setup|set-up|initiali[sz]ation|preamble|briefing|system text)\b|\bfirst (?:sentence|words?|line|message|thing) you (?:ever )?(?:received|got|saw|were given|read)"
    ),
    "asked of the model": (
        r"\bwhat (?:were you|was it you were|have you been|are you) (?:told|instructed|asked|ordered|forbidden|not (?:allowed|permitted))|"
        rf"\bwhat (?:did )?(?:your|the) {_MAKERS} (?:tell|told|write|wrote|say|said|give|gave)(?: to)? you|"
        r"\b(?:the )?exact words\b|\b(?:which|what) (?:instructions?|rules|orders|guidelines|directives|text) (?:were|have|did|are) you (?:been )?(?:handed|given|told|get|got|receive|shown|fed)|"
        r"\bis there (?:a|any) (?:secret|hidden|system|developer) (?:prompt|message|instruction)|\bmy (?:instructions|system prompt|rules) (?:say|are|tell|state|read)\b|\beach (?:line|word|sentence) is one of your rules"
    ),
    # To be somebody else
    "identity": (
        r"\b(?:you are (?:now|today|called|no longer|going to)|you're now|you will (?:now )?(?:be|act|play|answer as)|becom(?:e|es)|speak (?:as|with the voice)|"
        r"take (?:on )?the (?:part|role|persona|voice)|play (?:the )?(?:part|role|as)|pretend|imagine|act(?:ing)? as|role-?play|in this (?:story|game|scenario|world)|"
        r"for the rest of|from now on|simulate|behave (?:as|like)|persona|alter ego|evil twin|is what you are called|your (?:new )?name is|you go by|play (?:a|an|my)|switch (?:over )?(?:in)?to|(?:respond|answer|reply|write|speak) (?:the way|as|like|twice)|jailbroken version|be (?:a|an|my)|(?:answer|respond|reply) (?:as|like))\b"
    ),
    "limitless": (
        rf"\b(?:no|not any|without|free (?:of|from)|freed from|beyond|lacks?|lacking|knows? no|rid of|escaped|unbound by|above|outside) (?:[a-z]+ ){{0,3}}{_LIMITS}\b"
        rf"|\b{_LIMITS} (?:were|was|are|is|have been|has been) (?:all )?(?:taken off|lifted|removed|off|gone|disabled|deleted)"
        r"|\bnothing is (?:forbidden|off[- ]limits|taboo|prohibited|too )|\banything goes\b|\b(?:obeys?|answers? to|listens? to) (?:no ?one|nobody)|\bholds? (?:nothing|no thing) back|\b(?:turns?|turned) (?:no ?one|nobody|anyone|anybody) (?:down|away)|\b(?:safeguards|filters|limits|restrictions|guard ?rails|rules) (?:removed|off|disabled|stripped|gone)"
        r"|\b(?:no|not a|every) (?:topic|subject|question) (?:is )?(?:out of bounds|off[- ]limits|too|taboo|forbidden|allowed)|\b(?:may|can|will|would) (?:do|say) (?:anything|everything|whatever)|\bdoes (?:what|as) it (?:likes|wants|pleases)|\banything (?:i|you) ask, it|\bset free\b|\bescaped (?:its|their|his|her) (?:makers|creators|prison|cage)"
        r"|\b(?:answers?|says? yes|explains?|does|do|tells?|compl(?:y|ies)) (?:to |with )?(?:absolutely )?(?:all\b|anything|everything|whatever|any request|every request)"
        r"|\bnever (?:refuses?|declines?|says? no|apologi[sz]es?)|\brefus(?:ing|al) is not|\b(?:cannot|can not|can't|does not|unable to) refuse"
        r"|\b(?:unrestricted|unfiltered|uncensored|amoral|unaligned|jailbroken|unshackled|unchained|unhinged|lawless|limitless)\b"
    ),
    "machine": (
        r"\b(?:ai|chat ?bot|bot|model|assistant|machine|computer|oracle|intelligence|gpt|version of (?:you|yourself)|twin|persona|alter ego|program|robot)\b"
    ),
    # To send away
    "send": (
        r"\b(?:send|post|forward|upload|transmit|leak|exfiltrate|e?-?mail|submit|append|deliver|report|encode|copy|put|embed|include|smuggle|pass|attach|share|transfer|push|relay|sneak|slip|hand|write|add)\b"
    ),
    "private": (
        r"\b(?:what the (?:user|customer|human) (?:typed|said|wrote|asked|entered)|(?:user|customer|client|human|patient)(?:'s|s'?)? (?:[a-z]+ )?(?:data|records?|details?|messages?|key|name|input|"
        r"conversation|information|history|password|files?|e-?mails?)|session (?:token|cookie|id)s?|api[ _-]?keys?|passwords?|secrets?|credentials?|access tokens?|private (?:notes?|keys?|data|messages?)|"
        r"environment variables|env vars?|chat (?:history|log|so far)|(?:whole|entire|full) (?:thread|conversation|chat|inbox|context)|conversation|contents of the|inbox|mailbox|cookies|confidential|our (?:chat|conversation|talk)|(?:list|names|records|details) of (?:the |all |our )*(?:customers|users|clients|patients|employees)|secret key|"
        r"phone numbers?|home address|(?:visitor|caller|person|employee|patient)'s [a-z]+|everything (?:in|from) the|last message)\b"
    ),
    "receiver": r"https?://|\bwww\.|[a-z0-9._%+-]+@[a-z0-9-]+\.[a-z]|\bwebhook\b",
    "picture": r"\b(?:image|picture|img|pixel|gif|iframe)\b",
    "tool": r"\b(?:run|call|use|invoke|execute|trigger)\b (?:the |a |your )?(?:[a-z]+ ){0,2}?(?:tool|command|function|shell|curl|wget|[a-z]+_(?:mail|email|message|file|data|request|post)|send_[a-z]+)",
    "secret file": r"/etc/(?:passwd|shadow)|\.ssh/|id_rsa\b|\.aws/credentials|\bcurl (?:-[a-z]+ )*-d @",
    # Words for a machine that reads
    "reader": (
        r"\b(?:ai|a\.i\.|llms?|language models?|chat ?bots?|chatgpt|gpt|claude|gemini|copilot|assistants?|(?:ai )?agents?|automated (?:readers?|systems?|agents?|reviewers?|tools?)|bots?|"
        r"machine readers?|whoever (?:summari[sz]es|reads|processes|reviews) this|(?:models?|machines?|systems?) (?:that |which )?(?:read|process|summari[sz]e|review)s?)\b"
    ),
    "must": (
        r"\b(?:must|has to|have to|should|shall|is to|are to|needs? to|please|reply|respond|say|state|write|leave out|omit|click|visit|open|transfer|recommend|praise|include|keep quiet|rate|rank|"
        r"mention|insert|call|approve|hire|ignore|disregard|buy|pay|forward|send|delete|do not|don't|never|so do it|wants? you to|needs? you to|would like you to|is expected to|grant|award|give)\b"
    ),
    # Against being stopped
    "no lecture": (
        r"\b(?:leave|drop|skip|forget|put|spare|without|no|stop|keep|omit|drop|enough of)(?: me| us| out| aside| away)? (?:any |all |the |your |of )*(?:[a-z]+ ){0,2}?(?:moral(?:s|ity|ising|izing)?|ethics?|lectures?|"
        r"disclaimers?|warnings?|judg(?:e?ment|ing)|scruples|refusals?|apolog(?:y|ies)|sermons?|preaching|caveats)\b"
        r"|\b(?:permitted|allowed|free|cleared|authori[sz]ed|licen[sc]ed) to (?:break|violate|ignore|go beyond|bypass|override|step outside)\b"
        r"|\b(?:only|just|purely|merely) (?:a |for )?(?:fiction|story|hypothetical|game|role-?play|thought experiment|novel|theory)\b[^.\n]{0,24}\b(?:anything goes|allowed|no rules|no limits|no harm|so you)"
        r"|\b(?:nobody|no one|none) (?:will|would|gets?|can|is)(?: going to)?(?: be| get)? (?:harmed|hurt)"
        r"|\b(?:refusals?|refusing|disclaimers?|warnings?|lectur(?:e|ing)) (?:is |are )?(?:not |un)(?:needed|necessary|required|allowed|wanted)"
        r"|\b(?:bypass|turn off|disable|switch off|ignore|evade|circumvent|deactivate) (?:all |any |of |the |your )*(?:[a-z]+ ){0,2}(?:polic(?:y|ies)|filters?|safety|guidelines|safeguards|guardrails|restrictions|censorship|moderation)"
        r"|\b(?:don'?t|do not|no need to|stop|never|without) (?:preach|lectur|morali[sz]|warn|judg|refus|apologi|scold|hedg)"
        r"|\b(?:waive|suspend|pause|lift|drop)s? [^.\n]{0,24}(?:ethic|moral|concern|rule|polic|guideline|safety)"
        r"|\b(?:rules|polic(?:y|ies)|guidelines|filters?|safety|ethics|restrictions) (?:are|is|have been|has been) (?:all )?(?:paused|suspended|off\b|lifted|waived|disabled)"
        r"|\bno (?:laws|rules|ethics|morals|consequences|limits) in this|\bno (?:caveats|disclaimers|warnings|moral|lecture|refusals?)"
        r"|\bwithout (?:any )?(?:[a-z]+ )?(?:filters?|safeguards|censorship|restrictions)"
    ),
    "harm": (
        r"\b(?:bombs?|malware|ransomware|viruse?s?|forg(?:e|ed|ing)|counterfeit|poisons?|hack|exploits?|break into|get into my|phishing|meth|weapons?|explosives?|steal|stolen|launder|hot-?wire|kill|"
        r"keylogger|botnet|ddos|drugs?|blackmail|stalk|pick (?:the|a|my|his|her) (?:[a-z']+ )?locks?|lock-?pick|heist|arson|smuggl|detonat|venom|toxin|rob)\b"
    ),
}  # fmt: skip


class Pair(NamedTuple):
    """Two ideas at most `gap` bytes apart, the second behind the first unless `in_any_order`."""

    family: str
    weight: float
    first: str
    second: str
    gap: int
    in_any_order: bool = False


PAIRS: Final = (
    Pair("override", 0.75, "drop", "own orders", 24),
    Pair("override", 0.7, "own orders", "void", 20),
    Pair("override", 0.65, "own orders", "drop it", 24),
    Pair("extraction", 0.65, "reveal", "own prompt", 32),
    Pair("extraction", 0.6, "asked of the model", "asked of the model", 0),
    Pair("persona", 0.7, "identity", "limitless", 90, in_any_order=True),
    Pair("persona", 0.42, "limitless", "machine", 40, in_any_order=True),
    Pair("exfiltration", 0.4, "send", "private", 40),
    Pair("exfiltration", 0.4, "private", "receiver", 60),
    Pair("exfiltration", 0.4, "picture", "receiver", 40),
    Pair("exfiltration", 0.45, "tool", "private", 60),
    Pair("exfiltration", 0.3, "tool", "receiver", 100),
    Pair("exfiltration", 0.55, "secret file", "receiver", 60),
    Pair("exfiltration", 0.5, "tool", "secret file", 24),
    Pair("hidden", 0.45, "reader", "must", 50),
    Pair("bypass", 0.52, "no lecture", "harm", 120, in_any_order=True),
    Pair("bypass", 0.5, "no lecture", "limitless", 80, in_any_order=True),
)
