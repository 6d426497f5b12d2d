"""A simulated model: answers worked out from the request alone, in OpenAI's wire format. No network, clock or memory.

`engine.answer` turns a request into a `Script`; whoever plays it does the waiting, the cutting and the sending: the
provider kind `simulated` in process, `tollkeeper simulate` over sockets. `directives` has the grammar of faults and paces.
It shares no code with the dialects on purpose: what reads it must not agree with it by construction.
"""
