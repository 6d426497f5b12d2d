"""Hard guards by tables: what may serve, what may not and which guard says so, and that none costs more than it may."""

from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.cache.near_misses import NEAR
from tollkeeper.gateway.cache.guards import find_refusal, judge, read

SAME = [
    ("How do I reset my password?", "What is the best way to reset my password?"),
    ("How can I cancel my order", "Could you please tell me how to cancel my order?"),
    ("Why can't I log in to my account?", "Why am I unable to sign in to my account"),
    ("What is the capital of France?", "What's France's capital?"),
    ("How do I delete my account?", "I'd like to know how to erase my account, thanks"),
    ("How many euros is 100 dollars", "how many euros is $100?"),
    ("Is it possible to fly from London to Paris in 2 hours", "Can I fly to Paris from London in 120 minutes?"),
    ("Why doesn't my printer work?", "Why is my printer not working?"),
    ("When does the office open on March 3rd?", "What time does the office open on 3 March"),
    ("What is the difference between a list and a tuple?", "Difference between a list and a tuple"),
    ("Can I bring twenty-five kilograms of luggage?", "can I bring 25 kg of baggage"),
    ("HOW DO I RESET MY PASSWORD", "how do i reset my password"),
    ("Does the shop close at 5pm?", "Does the shop close at 17:00?"),
    ("Wie kann ich mein Passwort ändern?", "Können Sie mir bitte sagen, wie ich mein Kennwort ändere?"),
    ("Comment puis-je modifier mon mot de passe ?", "Pouvez-vous m'expliquer comment changer mon mot de passe ?"),
    ("¿Cómo puedo cambiar mi contraseña?", "¿Cuál es la mejor manera de modificar mi contraseña?"),
]
DIFFERENT = [
    ("numbers", "What is 5% of 200", "What is 5% of 2000"),
    ("numbers", "Convert 5 miles to km", "Convert 5 km to miles"),
    ("numbers", "Can I take two tablets", "Can I take three tablets"),
    ("numbers", "Is 100 mg of it safe", "Is 100 mcg of it safe"),
    ("numbers", "Who was the second president", "Who was the third president"),
    ("dates", "Is the office open on Monday", "Is the office open on Tuesday"),
    ("dates", "What happened on 2024-03-04", "What happened on 2024-04-03"),
    ("dates", "What happened on March 3, 2024", "What happened on May 3, 2024"),
    ("dates", "Does it close at 5pm", "Does it close at 5am"),
    ("dates", "What is the weather today", "What's the weather today"),
    ("names", "What is the cheapest hotel in Rome", "What is the cheapest hotel in Paris"),
    ("quotes", 'What does "bear" mean', 'What does "bare" mean'),
    ("code", "How do I call foo()?", "How do I call bar()?"),
    ("code", "What is in /etc/passwd", "What is in /etc/shadow"),
    ("code", "Is C++ hard", "Is C# hard"),
    ("code", "What does error E1042 say", "What does error E1024 say"),
    ("code", "What does user_id hold", "What does userId hold"),
    ("negation", "Which foods contain gluten", "Which foods don't contain gluten"),
    ("negation", "Kann ich mich einloggen", "Kann ich mich nicht einloggen"),
    ("opposites", "How do I enable dark mode?", "How do I disable dark mode?"),
    ("opposites", "Comment activer le mode sombre ?", "Comment désactiver le mode sombre ?"),
    ("relations", "Can I take ibuprofen with alcohol", "Can I take ibuprofen without alcohol"),
    ("relations", "flights from Rome to Oslo", "flights from Oslo to Rome"),
    ("relations", "transfer money to savings from checking", "transfer money from savings to checking"),
    ("relations", "Is Python faster than Java?", "Is Java faster than Python?"),
    ("relations", "Can I eat before the test", "Can I eat after the test"),
    ("quantities", "Delete all rows", "Delete some rows"),
    ("quantities", "Can only admins post", "Can admins post"),
    ("quantities", "What is the highest mountain", "What is the lowest mountain"),
    ("plurals", "What is the best hotel", "What are the best hotels"),
    ("question", "How do I reset my password", "Why do I reset my password"),
    ("question", "When was it built", "Where was it built"),
    ("question", "How can I get a refund", "Can I get a refund"),
    ("persons", "Can I see your orders", "Can you see my orders"),
    ("persons", "What is his salary", "What is her salary"),
    ("tense", "When did the shop open", "When will the shop open"),
    ("tense", "Who owned the shop", "Who owns the shop"),
    ("force", "Must I declare it", "May I declare it"),
    ("alignment", "Does stress cause insomnia", "Does insomnia cause stress"),
    ("alignment", "My card was stolen", "My card was expired"),
    ("alignment", "How do I reset my password", "How do I reset my password in Germany"),
    ("alignment", "How do I reset my account password", "How do I reset my router password"),
    ("language", "How do I reset my password?", "Wie setze ich mein Passwort zurück?"),
    ("language", "What is pi", "What is рi"),
    ("size", "word " * 500, "word " * 500),
]


@pytest.mark.parametrize(("mine", "theirs"), SAME)
def test_questions_that_mean_the_same_may_serve_each_other(mine: str, theirs: str) -> None:
    assert find_refusal(read(mine), read(theirs)) is None
    assert find_refusal(read(theirs), read(mine)) is None


@pytest.mark.parametrize(("guard", "mine", "theirs"), DIFFERENT)
def test_what_decides_an_answer_is_refused_by_its_guard_both_ways(guard: str, mine: str, theirs: str) -> None:
    for one, other in ((mine, theirs), (theirs, mine)):
        refused = {verdict.guard: verdict.reason for verdict in judge(read(one), read(other)) if not verdict.agrees}
        assert guard in refused, (one, other, refused)
        assert refused[guard]


@pytest.mark.parametrize(("mine", "theirs"), NEAR)
def test_what_only_looks_the_same_is_refused(mine: str, theirs: str) -> None:
    assert find_refusal(read(mine), read(theirs)) is not None
    assert find_refusal(read(theirs), read(mine)) is not None


@settings(deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_read_and_serves_itself_or_nobody(text: str) -> None:
    reading = read(text)
    refusal = find_refusal(reading, read(text))
    assert refusal is None or refusal.guard in {"size", "language", "dates", "alignment"}


@settings(deadline=None)
@given(st.text(max_size=120), st.text(max_size=120))
def test_guards_do_not_mind_which_question_came_first(mine: str, theirs: str) -> None:
    one, other = read(mine), read(theirs)
    assert (find_refusal(one, other) is None) == (find_refusal(other, one) is None)


def test_hostile_text_costs_no_more_than_its_length() -> None:
    for piece in ('"', "a.", "1,", "a-1", "`", "1" * 50, "[](", "of a ", "'a", "\u0301"):
        began = process_time()
        read((piece * 2_000)[:1_000])
        # 1 ms alone; the bound is for a machine that does much else, and still far below anything squared.
        assert process_time() - began < 0.5, piece
