"""Answers as vLLM, llama.cpp, Ollama, LM Studio, TGI, hosted services and local models give them, and what
they are read as.
"""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.intent.answer.reading import FAILURES, misread, read
from model.intent.answer.reasoning import whole
from model.intent.ground.known_titles import KnownTitles

FILMS = [
    "Jaws (1975)",
    "Toy Story (1995)",
    "Lion King, The (1994)",
    "Sorry, Wrong Number",
    "Sure Thing, The (1985)",
    "Star Trek: First Contact (1996)",
    "1984",
    "[REC]",
    "None But the Lonely Heart",
    "It",
    "Intel Core i7-4770K Quad-Core Desktop Processor (Haswell)",
    "Alien",
    "Brazil",
    "I, Robot",
    "Answer Man",
    "Okay, Next",
    "千と千尋の神隠し",
]
KNOWN = KnownTitles(FILMS)
JAWS = "Jaws (1975)"

# (what the model wrote, the name, the kind)
ANSWERS = [
    # plain, as every server gives it
    (JAWS, JAWS, "name"),
    (f"\n\n {JAWS} \n", JAWS, "name"),
    (f"{JAWS}.", JAWS, "name"),
    ("films about space", "films about space", "name"),
    ("Alien", "Alien", "name"),
    ("千と千尋の神隠し", "千と千尋の神隠し", "name"),
    ("Star Trek: Generations", "Star Trek: Generations", "name"),
    # titles that look like something else
    ("Sorry, Wrong Number", "Sorry, Wrong Number", "name"),
    ("I, Robot", "I, Robot", "name"),
    ("1984", "1984", "name"),
    ("[REC]", "[REC]", "name"),
    ("It", "It", "name"),
    ("Answer Man", "Answer Man", "name"),
    ("Okay, Next", "Okay, Next", "name"),
    ("12 Monkeys", "12 Monkeys", "name"),
    ("None But the Lonely Heart", "None But the Lonely Heart", "name"),
    ("2001: A Space Odyssey", "2001: A Space Odyssey", "name"),
    # quotes and letters (hosted services, llama.cpp)
    (f'"{JAWS}"', JAWS, "quoted"),
    (f"“{JAWS}”", JAWS, "quoted"),
    (f"**{JAWS}**", JAWS, "quoted"),
    (f"`{JAWS}`", JAWS, "quoted"),
    ("«Alien»", "Alien", "quoted"),
    ("「千と千尋の神隠し」", "千と千尋の神隠し", "quoted"),
    (f'{JAWS}", because', JAWS, "quoted"),
    (f"\\boxed{{{JAWS}}}", JAWS, "quoted"),
    # lists (Ollama, small local models)
    (f"- {JAWS}", JAWS, "listed"),
    (f"1) {JAWS}", JAWS, "listed"),
    (f"1. {JAWS}\n2. Alien\n3. Brazil", JAWS, "listed"),
    (f"• {JAWS}", JAWS, "listed"),
    (f"* {JAWS}\n* Alien", JAWS, "listed"),
    ("→ Alien", "Alien", "listed"),
    (f"| item |\n|---|\n| {JAWS} |", JAWS, "listed"),
    ("# Alien", "Alien", "listed"),
    # preambles and sentences (Llama, Gemma, Mistral)
    (f"Sure! Here is one item:\n\n{JAWS}", JAWS, "name"),
    (f"Sure! Here is one item: {JAWS}", JAWS, "labelled"),
    (f"Okay, {JAWS}", JAWS, "labelled"),
    (
        f"Based on the list of items, I would guess:\n\n**{JAWS}**\n\nExplanation: it is a film.",
        JAWS,
        "quoted",
    ),
    (f"Based on the list, the user might want {JAWS}.", JAWS, "labelled"),
    (f"**Answer:** {JAWS}", JAWS, "labelled"),
    (f'The next item is "{JAWS}".', JAWS, "labelled"),
    (f"I would guess {JAWS}.", JAWS, "sentence"),
    ("It could be Alien.", "Alien", "sentence"),
    (f'I would recommend "{JAWS}" because the user likes sharks.', JAWS, "quoted"),
    (f"The user would likely want to watch {JAWS} next.", JAWS, "sentence"),
    (f"{JAWS} - a thriller about sharks", JAWS, "sentence"),
    (f"{JAWS}, because of the sharks", JAWS, "sentence"),
    (f"Let's see. The user chose:\n1. Alien\n2. Brazil\nAnswer: {JAWS}", JAWS, "labelled"),
    ("The user likes water and fear.\nThe sea comes up often.\nJaws", "Jaws", "name"),
    (f"I cannot determine the next item. However, my guess is: {JAWS}", JAWS, "labelled"),
    # reasoning in the content (vLLM and llama.cpp without a parser, Ollama, LM Studio, gpt-oss, Magistral,
    # Kimi, Cohere)
    (f"<think>\nSharks.\n</think>\n\n{JAWS}", JAWS, "reasoned"),
    (f"Sharks again.\n</think>\n\n{JAWS}", JAWS, "reasoned"),
    (
        (
            "<|channel|>analysis<|message|>Sharks.<|end|><|start|>assistant<|channel|>final<|message|>"
            f"{JAWS}<|return|>"
        ),
        JAWS,
        "reasoned",
    ),
    (f"analysisThe user likes sharks.assistantfinal{JAWS}", JAWS, "reasoned"),
    (f"[THINK]Sharks.[/THINK]{JAWS}", JAWS, "reasoned"),
    (f"◁think▷Sharks.◁/think▷{JAWS}", JAWS, "reasoned"),
    (f"<|START_THINKING|>S.<|END_THINKING|><|START_RESPONSE|>{JAWS}<|END_RESPONSE|>", JAWS, "reasoned"),
    (f"<think></think>\n1. **{JAWS}**", JAWS, "reasoned"),
    (f"<answer>{JAWS}</answer>", JAWS, "name"),
    (f"{JAWS}<|im_end|>\n<|im_start|>user", JAWS, "name"),
    # JSON (structured output, tools, models that like it)
    (f'{{"item": "{JAWS}"}}', JAWS, "json"),
    (f'```json\n{{"title": "{JAWS}", "reason": "sharks"}}\n```', JAWS, "json"),
    (f'["{JAWS}", "Alien"]', JAWS, "json"),
    (f"{{'item': '{JAWS}'}}", JAWS, "json"),
    (f'{{"recommendations": [{{"name": "{JAWS}"}}]}}', JAWS, "json"),
    (f'<tool_call>{{"name": "recommend", "arguments": {{"item": "{JAWS}"}}}}</tool_call>', JAWS, "json"),
    (f'Here is the JSON:\n{{"why": "sharks, of course", "which": "{JAWS}"}}', JAWS, "json"),
    # no answers
    ("", "", "empty"),
    (None, "", "empty"),
    (" \n ", "", "empty"),
    ('""', "", "empty"),
    ("...", "", "empty"),
    ("N/A", "", "empty"),
    ("None", "", "empty"),
    ('{"item": null}', "", "empty"),
    ("Here is the answer:", "", "empty"),
    ("\ud800", "", "empty"),
    ("I'm sorry, but I can't help with that.", "", "refusal"),
    ("As an AI language model, I cannot guess.", "", "refusal"),
    ("Could you provide more context?", "", "refusal"),
    ("I'm sorry, but I can't recommend \"Alien\".", "", "refusal"),
    ('{"error": "no"}', "", "refusal"),
    ("There is not enough information to guess.", "", "refusal"),
    ("Unfortunately, I don't know.\nPlease provide more items.", "", "refusal"),
    ("<think>\nOkay, the user", "", "reasoning without end"),
    ("<|channel|>analysis<|message|>We need", "", "reasoning without end"),
    ("analysisThe user likes", "", "reasoning without end"),
    ('{"item": "Jaws (19', "", "cut"),
    ('{"ite', "", "cut"),
    ("{", "", "cut"),
]


@pytest.mark.parametrize(("raw", "name", "kind"), ANSWERS)
def test_an_answer_is_read_for_what_it_is(raw, name, kind):
    reading = read(raw, KNOWN)
    assert (reading.text, reading.kind) == (name, kind)
    assert reading.failed == (not name) == (kind in FAILURES)


@pytest.mark.parametrize(
    "kept",
    [
        "<think>",
        "</think>",
        "<think>Okay, so the user",
        "<|channel|>analysis",
        "analysisThe user",
        "Sure! Here is one item:",
        "- Alien",
        "1) Alien",
        "{",
        "json",
        '{"item": "Alien"}',
        "I'm sorry, but I can't",
        "Intel Core i7-4770K Quad-Core Desktop Processor (",
        "[THINK]",
        "",
        "<unused94>thought The user",
        "&lt;think&gt;The user",
        "<think effort='low'>The user",
        "< think >The user",
        "<chain_of_thought>The user",
        "assistantfinal space films",
        "Chain of thought: the user",
        "First, I need to look at the list",
        "Wait, the clicks are about sharks",
        "The user seems to be",
        "The user has watched three westerns",
    ],
)
def test_misread_answers_are_recognised(kept):
    assert misread(kept, KNOWN)


@pytest.mark.parametrize(
    "kept",
    [
        *FILMS,
        "Thinking, Fast and Slow",
        "films about space",
        "The Lion King",
        "Dr. Strangelove or: How I Learned",
        "thing 25",
        "First Man (2018)",
        "Wait Until Dark",
        "sure-footed hiking boots",
        "okay-ish comedies",
    ],
)
def test_right_answers_are_not_taken_for_misread(kept):
    assert not misread(kept, KNOWN) and not misread(kept, KnownTitles([*FILMS, kept]))


def test_of_several_lines_the_one_that_names_a_title_best_is_the_answer():
    assert (
        read("A film about the sea\nanimated Toy Story 1995\nor so", KNOWN).text == "animated Toy Story 1995"
    )
    assert read("A thriller\nToy Story (1995)\nA drama", KNOWN).text == "Toy Story (1995)"
    assert read("A thriller\nToy Story (1995)\nA drama").text == "A thriller"


def test_a_title_that_the_bound_cut_is_no_answer():
    beginning = "Intel Core i7-4770K Quad-Core Desktop"
    assert read(beginning, KNOWN, cut=True).kind == "cut" and read(beginning, KNOWN).text == beginning
    assert read("Alien", KNOWN, cut=True).text == "Alien"


@given(
    st.text(alphabet=st.sampled_from("ab :.,\"'*-1)(<>/{}[]|think\nJaws"), max_size=60) | st.text(max_size=80)
)
def test_a_read_answer_is_read_as_itself(raw):
    reading = read(raw, KNOWN)
    assert reading.text == whole(reading.text) and "\n" not in reading.text
    assert reading.failed or (
        read(reading.text, KNOWN).text == reading.text and not misread(reading.text, KNOWN)
    )


@pytest.mark.parametrize(
    "raw",
    [
        "<think>" * 60_000,
        "{" * 300_000,
        "[" * 300_000,
        "word " * 60_000,
        '"' * 300_000,
        "**a" * 100_000,
        "- " * 100_000,
        "<|channel|>final" * 20_000,
        "| a " * 70_000,
        "I would guess " * 20_000,
        "```" * 100_000,
        "Sure! " * 50_000,
        "<answer>" * 40_000,
        "(" * 300_000,
        " " * 300_000 + "x",
        "\\boxed{" * 40_000,
    ],
)
def test_no_answer_takes_long_to_read(raw):
    started = time.process_time()
    read(raw, KNOWN)
    assert time.process_time() - started < 2.0
