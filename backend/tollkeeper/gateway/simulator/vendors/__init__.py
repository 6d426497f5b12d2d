"""Other vendors' wire formats, as their public references have them: one file reads and refuses, one writes.

A reader turns a request into the question that OpenAI's fields would ask, so that one simulated model answers all
vendors alike; it is as strict as the vendor itself, for a request that the vendor would refuse must not pass here.
"""
