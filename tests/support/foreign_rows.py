"""One row of each format that other tools and public datasets write, and what becomes of it.

The rows are our own. `turns` writes a conversation short: `U: text`, `A: text`, `S: text` (system), `T:
text` (a tool's result), `C: name {arguments}` (a call), a weight as `A0:`. A case has either what is rendered
or the code and key of its fault.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Foreign:
    """`rows` as a file has them; what the first of them is read as, or its fault as `code key`."""

    name: str
    rows: list[Row]
    turns: list[str] = field(default_factory=list)
    rejected: str | None = None
    tools: tuple[str, ...] = ()
    fault: str = ""
    task: str = "chat"
    source: Row = field(default_factory=dict)
    says: tuple[str, ...] = ()  # words of the fork's notes
    fields: dict[str, str] = field(default_factory=dict)  # FIELDS=


def gpt(*turns: str, keys: tuple[str, str] = ("from", "value"), names: str = "system human gpt") -> list[Row]:
    """Return turns as ShareGPT has them, from `U: text` and the like."""
    role = dict(zip("SUA", names.split(), strict=True)) | {"T": "observation", "C": "function_call"}
    return [{keys[0]: role[turn[0]], keys[1]: turn[3:]} for turn in turns]


def openai(*turns: str, names: str = "system user assistant") -> list[Row]:
    return gpt(*turns, keys=("role", "content"), names=names)


ASK, SAY = "U: Is the sluice open?", "A: It is shut."
TALK = openai(ASK, SAY)
LONG = ["U: Is the sluice open?", "A: It is shut.", "U: Since when?", "A: Since noon."]
TIDE = {
    "name": "tide",
    "description": "High water at a quay.",
    "parameters": {"type": "object", "properties": {"quay": {"type": "string"}}},
}
ARGS = '{"quay": "Low Quay"}'
CALL = {"id": "call_1", "type": "function", "function": {"name": "tide", "arguments": ARGS}}
CALLED = ["U: When is high water?", f"C: tide {ARGS}", "T: 17.30", "A: At half past five."]
HERMES = "You call functions. Here are the tools: <tools> [" + json.dumps(TIDE) + "] </tools>"


def parts(*turns: str, **more: Any) -> list[Row]:
    """Return turns whose content is a list of typed parts, as LLaMA-Factory's v1 has them."""
    return [
        {**turn, "content": [{"type": "text", "value": turn["content"]}], **more} for turn in openai(*turns)
    ]


CASES = [
    # LLaMA-Factory
    Foreign(
        "LLaMA-Factory: Alpaca with history and system",
        [
            {
                "instruction": "Since when?",
                "input": "",
                "output": "Since noon.",
                "system": "Be brief.",
                "history": [["Is the sluice open?", "It is shut."]],
            }
        ],
        ["S: Be brief.", *LONG],
    ),
    Foreign(
        "LLaMA-Factory: ShareGPT with a system column and tools",
        [
            {
                "conversations": gpt("U: When is high water?")
                + [
                    {
                        "from": "function_call",
                        "value": json.dumps({"name": "tide", "arguments": {"quay": "Low Quay"}}),
                    },
                    {"from": "observation", "value": "17.30"},
                    {"from": "gpt", "value": "At half past five."},
                ],
                "system": "Be brief.",
                "tools": json.dumps([TIDE]),
            }
        ],
        ["S: Be brief.", *CALLED],
        tools=("tide",),
    ),
    Foreign(
        "LLaMA-Factory: ShareGPT with empty tools",
        [{"conversations": gpt(ASK, SAY), "system": "", "tools": "[]"}],
        [ASK, SAY],
    ),
    Foreign(
        "LLaMA-Factory: Alpaca preference",
        [{"instruction": "Is it open?", "input": "The sluice.", "chosen": "It is shut.", "rejected": "Yes."}],
        ["U: Is it open?\n\nThe sluice.", SAY],
        rejected="Yes.",
        task="preference",
    ),
    Foreign(
        "LLaMA-Factory: Alpaca preference with history",
        [
            {
                "instruction": "Since when?",
                "input": "",
                "history": [["Is the sluice open?", "It is shut."]],
                "chosen": "Since noon.",
                "rejected": "No idea.",
            }
        ],
        LONG,
        rejected="No idea.",
        task="preference",
    ),
    Foreign(
        "LLaMA-Factory: ShareGPT preference",
        [
            {
                "conversations": gpt(ASK),
                "chosen": gpt(SAY)[0],
                "rejected": gpt("A: Yes.")[0],
            }
        ],
        [ASK, SAY],
        rejected="Yes.",
        task="preference",
    ),
    Foreign(
        "LLaMA-Factory: KTO, a good answer",
        [{"messages": TALK, "label": True}, {"messages": TALK, "label": False}],
        [ASK, SAY],
        source={"where": "label"},
    ),
    Foreign(
        "LLaMA-Factory: KTO, a bad answer",
        [{"messages": TALK, "label": False}, {"messages": TALK, "label": True}],
        fault="rows.meaning_not_read label",
    ),
    Foreign(
        "LLaMA-Factory: KTO of Alpaca rows",
        [{"instruction": "Is it?", "input": "", "output": "No.", "kto_tag": False}],
        fault="rows.meaning_not_read kto_tag",
    ),
    Foreign(
        "LLaMA-Factory v1: v1_sft",
        [
            {
                "messages": [
                    {**turn, "loss_weight": weight}
                    for turn, weight in zip(
                        parts("S: Be brief.", *LONG), (0.0, 0.0, 0.0, 0.0, 1.0), strict=True
                    )
                ]
            }
        ],
        ["S: Be brief.", LONG[0], "A0: It is shut.", LONG[2], "A1: Since noon."],
    ),
    Foreign(
        "LLaMA-Factory v1: v1_dpo",
        [
            {
                "chosen_messages": parts(ASK, SAY, loss_weight=0.0)[:1] + parts(SAY, loss_weight=1.0),
                "rejected_messages": parts(ASK, loss_weight=0.0) + parts("A: Yes.", loss_weight=1.0),
            }
        ],
        [ASK, "A1: It is shut."],
        rejected="Yes.",
        task="preference",
    ),
    Foreign(
        "LLaMA-Factory v1: tool calls as parts",
        [
            {
                "messages": [
                    *parts("U: When is high water?"),
                    {
                        "role": "assistant",
                        "content": [
                            {
                                "type": "tool_call",
                                "value": json.dumps({"name": "tide", "arguments": {"quay": "Low Quay"}}),
                            }
                        ],
                    },
                    {"role": "tool", "content": [{"type": "text", "value": "17.30"}]},
                    *parts("A: At half past five."),
                ],
                "tools": json.dumps([TIDE]),
            }
        ],
        CALLED,
        tools=("tide",),
    ),
    Foreign(
        "LLaMA-Factory v1: a reasoning part",
        [
            {
                "messages": [
                    *parts(ASK),
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "reasoning", "value": "Hm."},
                            {"type": "text", "value": "Shut."},
                        ],
                    },
                ]
            }
        ],
        fault="rows.not_text messages[1].content[0]",
    ),
    Foreign(
        "LLaMA-Factory: ShareGPT with pictures",
        [{"conversations": gpt("U: <image>What is it?", "A: A boat."), "images": ["a.png"]}],
        fault="rows.meaning_not_read images",
    ),
    # ms-swift
    Foreign("ms-swift: messages", [{"messages": openai("S: Be brief.", *LONG)}], ["S: Be brief.", *LONG]),
    Foreign(
        "ms-swift: rejected_response",
        [{"messages": TALK, "rejected_response": "Yes."}],
        [ASK, SAY],
        rejected="Yes.",
        task="preference",
    ),
    Foreign(
        "ms-swift: rejected_messages",
        [{"messages": openai(*LONG), "rejected_messages": openai(*LONG[:3], "A: No idea.")}],
        LONG,
        rejected="No idea.",
        task="preference",
    ),
    Foreign(
        "ms-swift: query, response, history, system",
        [
            {
                "system": "Be brief.",
                "query": "Since when?",
                "response": "Since noon.",
                "history": [["Is the sluice open?", "It is shut."]],
            }
        ],
        ["S: Be brief.", *LONG],
    ),
    Foreign(
        "ms-swift: pictures and boxes",
        [{"messages": TALK, "objects": {"ref": ["boat"], "bbox": [[1, 2, 3, 4]]}}],
        fault="rows.meaning_not_read objects",
    ),
    Foreign(
        "ms-swift: loss of a turn",
        [{"messages": [TALK[0], {**TALK[1], "loss": False}, *openai("U: Since when?", "A: Since noon.")]}],
        [ASK, "A0: It is shut.", "U: Since when?", "A1: Since noon."],
    ),
    Foreign(
        "ms-swift: agent",
        [
            {
                "tools": json.dumps([{"type": "function", "function": TIDE}]),
                "messages": [
                    {"role": "user", "content": "When is high water?"},
                    {
                        "role": "tool_call",
                        "content": json.dumps({"name": "tide", "arguments": {"quay": "Low Quay"}}),
                    },
                    {"role": "tool_response", "content": "17.30"},
                    {"role": "assistant", "content": "At half past five."},
                ],
            }
        ],
        CALLED,
        tools=("tide",),
    ),
    Foreign("ms-swift: KTO", [{"messages": TALK, "label": False}], fault="rows.meaning_not_read label"),
    # TRL
    Foreign(
        "TRL: preference with a prompt",
        [{"prompt": TALK[:1], "chosen": TALK[1:], "rejected": openai("A: Yes.")}],
        [ASK, SAY],
        rejected="Yes.",
        task="preference",
    ),
    Foreign(
        "TRL: preference without a prompt",
        [{"chosen": TALK, "rejected": openai(ASK, "A: Yes.")}],
        [ASK, SAY],
        rejected="Yes.",
        task="preference",
    ),
    Foreign(
        "TRL: prompt and completion as turns",
        [{"prompt": openai("S: Be brief.", ASK), "completion": TALK[1:]}],
        ["S: Be brief.", ASK, SAY],
    ),
    Foreign(
        "TRL: prompt and completion as text",
        [{"prompt": "Is the sluice open?", "completion": "It is shut."}],
        [ASK, SAY],
    ),
    Foreign(
        "TRL: KTO",
        [{"prompt": "Is the sluice open?", "completion": "Yes.", "label": False}],
        fault="rows.meaning_not_read label",
    ),
    Foreign(
        "TRL: KTO as turns",
        [{"prompt": TALK[:1], "completion": TALK[1:], "label": False}],
        fault="rows.meaning_not_read label",
    ),
    Foreign(
        "TRL: chat_template_kwargs",
        [{"prompt": TALK[:1], "completion": TALK[1:], "chat_template_kwargs": {"enable_thinking": False}}],
        fault="rows.meaning_not_read chat_template_kwargs",
    ),
    Foreign(
        "TRL: step by step",
        [{"prompt": "2 + 2?", "completions": ["Add.", "4"], "labels": [True, True]}],
        fault="fork.needs_conversion DATA",
    ),
    Foreign("TRL: prompts only", [{"prompt": TALK[:1]}], fault="fork.needs_conversion DATA"),
    Foreign(
        "TRL: plain text", [{"text": "The Wend rises on Crake Fell."}], fault="fork.needs_conversion DATA"
    ),
    # OpenAI
    Foreign(
        "OpenAI: weight",
        [{"messages": [TALK[0], {**TALK[1], "weight": 0}, *openai("U: Since when?", "A: Since noon.")]}],
        [ASK, "A0: It is shut.", "U: Since when?", "A1: Since noon."],
    ),
    Foreign(
        "OpenAI: tools",
        [
            {
                "messages": [
                    {"role": "user", "content": "When is high water?"},
                    {"role": "assistant", "content": None, "tool_calls": [CALL]},
                    {"role": "tool", "tool_call_id": "call_1", "content": "17.30"},
                    {"role": "assistant", "content": "At half past five."},
                ],
                "tools": [{"type": "function", "function": TIDE}],
                "parallel_tool_calls": False,
            }
        ],
        CALLED,
        tools=("tide",),
        says=("tool_call_id",),
    ),
    Foreign(
        "OpenAI: functions, the older form",
        [
            {
                "messages": [
                    {"role": "user", "content": "When is high water?"},
                    {"role": "assistant", "function_call": {"name": "tide", "arguments": ARGS}},
                    {"role": "function", "name": "tide", "content": "17.30"},
                    {"role": "assistant", "content": "At half past five."},
                ],
                "functions": [TIDE],
            }
        ],
        CALLED,
        tools=("tide",),
    ),
    Foreign(
        "OpenAI: preference",
        [
            {
                "input": {"messages": TALK[:1], "tools": [], "parallel_tool_calls": True},
                "preferred_output": TALK[1:],
                "non_preferred_output": openai("A: Yes."),
            }
        ],
        [ASK, SAY],
        rejected="Yes.",
        task="preference",
    ),
    Foreign(
        "OpenAI: preference with tools",
        [
            {
                "input": {"messages": TALK[:1], "tools": [{"type": "function", "function": TIDE}]},
                "preferred_output": TALK[1:],
                "non_preferred_output": openai("A: Yes."),
            }
        ],
        fault="rows.tools_in_pairs input.tools",
        task="preference",
    ),
    Foreign(
        "OpenAI: reinforcement fine-tuning",
        [{"messages": TALK[:1], "reference_answer": "shut"}],
        fault="fork.needs_conversion DATA",
    ),
    Foreign(
        "OpenAI: parts of the Responses API",
        [
            {
                "messages": [
                    {"role": "user", "content": [{"type": "input_text", "text": "Is the sluice open?"}]},
                    {"role": "assistant", "content": [{"type": "output_text", "text": "It is shut."}]},
                ]
            }
        ],
        [ASK, SAY],
    ),
    Foreign(
        "OpenAI: ids, names and times in turns",
        [{"messages": [{**TALK[0], "name": "ada", "timestamp": 3}, {**TALK[1], "id": "m2"}]}],
        [ASK, SAY],
        says=("name", "timestamp", "id"),
    ),
    # Other vendors
    Foreign(
        "Gemini: contents and parts",
        [
            {
                "systemInstruction": {"role": "system", "parts": [{"text": "Be brief."}]},
                "contents": [
                    {"role": "user", "parts": [{"text": "Is the sluice open?"}]},
                    {"role": "model", "parts": [{"text": "It is shut."}]},
                ],
            }
        ],
        ["S: Be brief.", ASK, SAY],
    ),
    Foreign(
        "Bedrock: parts without a type",
        [
            {
                "system": [{"text": "Be brief."}],
                "messages": [
                    {"role": "user", "content": [{"text": "Is the sluice open?"}]},
                    {"role": "assistant", "content": [{"text": "It is shut."}]},
                ],
            }
        ],
        ["S: Be brief.", ASK, SAY],
    ),
    Foreign(
        "Cohere: message and Chatbot",
        [{"messages": gpt(ASK, SAY, keys=("role", "message"), names="System User Chatbot")}],
        [ASK, SAY],
    ),
    # ShareGPT's relatives
    *(
        Foreign(
            f"ShareGPT: {names}",
            [{"id": "a", "conversations": gpt("S: Be brief.", *LONG, names=names)}],
            ["S: Be brief.", *LONG],
        )
        for names in (
            "system human gpt",
            "system user assistant",
            "system human chatgpt",
            "system human bing",
            "system user bard",
            "system user model",
            "system Nutzer Assistent",
            "system utilisateur assistant",
            "sistema usuario asistente",
            "\u7cfb\u7edf \u7528\u6237 \u52a9\u624b",
        )
    ),
    Foreign(
        "a role that only its owner knows",
        [{"messages": openai(*LONG, names="system Kundin Haus")}],
        fault="rows.unknown_role messages[0].role",
    ),
    Foreign(
        "a role that only its owner knows, named",
        [{"messages": openai(*LONG, names="system Kundin Haus")}],
        LONG,
        source={"roles": {"Kundin": "user", "Haus": "assistant"}},
    ),
    Foreign(
        "Hermes: tools in the system prompt, calls in text",
        [
            {
                "conversations": [
                    {"from": "system", "value": HERMES},
                    {"from": "human", "value": "When is high water?"},
                    {
                        "from": "gpt",
                        "value": "<tool_call>\n{'arguments': {'quay': 'Low Quay'}, 'name': 'tide'}"
                        "\n</tool_call>",
                    },
                    {"from": "tool", "value": "<tool_response>\n17.30\n</tool_response>"},
                    {"from": "gpt", "value": "At half past five."},
                ],
                "tools": json.dumps([TIDE]),
            }
        ],
        [f"S: {HERMES}", *CALLED],
        says=("<tool_call>",),
    ),
    # Dialogues of two speakers
    Foreign(
        "SGD",
        [
            {
                "dialogue_id": "1_00000",
                "services": ["Tides_1"],
                "turns": [
                    {"frames": [{"service": "Tides_1"}], "speaker": speaker, "utterance": turn[3:]}
                    for speaker, turn in zip(("USER", "SYSTEM") * 2, LONG, strict=True)
                ],
            }
        ],
        LONG,
        says=("SYSTEM", "frames"),
    ),
    Foreign(
        "Taskmaster",
        [
            {
                "conversation_id": "dlg-1",
                "instruction_id": "tide-1",
                "utterances": [
                    {"index": 0, "speaker": "USER", "text": "Is the sluice open?"},
                    {"index": 1, "speaker": "ASSISTANT", "text": "It is shut.", "segments": []},
                ],
            }
        ],
        [ASK, SAY],
    ),
    Foreign(
        "Taskmaster: one speaker twice",
        [
            {
                "utterances": [
                    {"index": 0, "speaker": "USER", "text": "Hello."},
                    {"index": 1, "speaker": "USER", "text": "Is the sluice open?"},
                    {"index": 2, "speaker": "ASSISTANT", "text": "It is shut."},
                ]
            }
        ],
        fault="rows.turn_order utterances[1]",
    ),
    Foreign(
        "Taskmaster: one speaker twice, joined",
        [
            {
                "utterances": [
                    {"index": 0, "speaker": "USER", "text": "Hello."},
                    {"index": 1, "speaker": "USER", "text": "Is the sluice open?"},
                    {"index": 2, "speaker": "ASSISTANT", "text": "It is shut."},
                ]
            }
        ],
        ["U: Hello.\n\nIs the sluice open?", SAY],
        source={"repair": ["join_turns"]},
    ),
    Foreign(
        "MultiWOZ: log",
        [
            {
                "goal": {},
                "log": [
                    {"text": "Is the sluice open?", "metadata": {}},
                    {"text": "It is shut.", "metadata": {"tide": {}}},
                ],
            }
        ],
        [ASK, SAY],
        says=("no speaker",),
    ),
    Foreign(
        "MultiWOZ 2.2",
        [
            {
                "dialogue_id": "PMUL1.json",
                "turns": [
                    {"speaker": "USER", "turn_id": "0", "utterance": "Is the sluice open?", "frames": []},
                    {"speaker": "SYSTEM", "turn_id": "1", "utterance": "It is shut.", "frames": []},
                ],
            }
        ],
        [ASK, SAY],
    ),
    Foreign(
        "UltraChat: data", [{"id": "0", "data": [turn[3:] for turn in LONG]}], LONG, says=("no speaker",)
    ),
    Foreign("LIMA", [{"conversations": [turn[3:] for turn in LONG], "source": "x"}], LONG),
    Foreign("DailyDialog", [{"dialog": [turn[3:] for turn in LONG], "act": [1, 2, 1, 2]}], LONG),
    Foreign(
        "BELLE: human and assistant in one object",
        [
            {
                "conversation": [
                    {"human": "Is the sluice open?", "assistant": "It is shut."},
                    {"human": "Since when?", "assistant": "Since noon."},
                ]
            }
        ],
        LONG,
    ),
    Foreign(
        "XTuner",
        [
            {
                "conversation": [
                    {"system": "Be brief.", "input": "Is the sluice open?", "output": "It is shut."},
                    {"input": "Since when?", "output": "Since noon."},
                ]
            }
        ],
        ["S: Be brief.", *LONG],
    ),
    Foreign(
        "OASST: a tree",
        [
            {
                "message_tree_id": "t1",
                "tree_state": "ready_for_export",
                "prompt": {
                    "message_id": "m1",
                    "text": "Is the sluice open?",
                    "role": "prompter",
                    "replies": [
                        {"message_id": "m2", "text": "Yes.", "role": "assistant", "rank": 1, "replies": []},
                        {
                            "message_id": "m3",
                            "text": "It is shut.",
                            "role": "assistant",
                            "rank": 0,
                            "replies": [
                                {"message_id": "m4", "text": "Why?", "role": "prompter", "replies": []}
                            ],
                        },
                    ],
                },
            }
        ],
        [ASK, SAY],
        says=("best",),
    ),
    Foreign(
        "OASST: flat messages",
        [
            {
                "message_id": "m1",
                "parent_id": None,
                "message_tree_id": "m1",
                "text": "Is the sluice open?",
                "role": "prompter",
                "rank": None,
            },
            {
                "message_id": "m2",
                "parent_id": "m1",
                "message_tree_id": "m1",
                "text": "It is shut.",
                "role": "assistant",
                "rank": 0.0,
            },
        ],
        [ASK, SAY],
    ),
    # Pairs of public datasets
    Foreign(
        "Dolly",
        [
            {
                "instruction": "Is it open?",
                "context": "The sluice.",
                "response": "It is shut.",
                "category": "qa",
            }
        ],
        ["U: Is it open?\n\nThe sluice.", SAY],
    ),
    Foreign(
        "Alpaca",
        [
            {
                "instruction": "Is it open?",
                "input": "The sluice.",
                "output": "It is shut.",
                "text": "Below ...",
            }
        ],
        ["U: Is it open?\n\nThe sluice.", SAY],
    ),
    Foreign(
        "Orca",
        [{"system_prompt": "Be brief.", "question": "Is the sluice open?", "response": "It is shut."}],
        ["S: Be brief.", ASK, SAY],
    ),
    Foreign("WizardLM", [{"instruction": "Is the sluice open?", "output": "It is shut."}], [ASK, SAY]),
    Foreign("WizardLM V2", [{"idx": "a", "conversations": gpt(ASK, SAY)}], [ASK, SAY]),
    Foreign(
        "HelpSteer",
        [{"prompt": "Is it?", "response": "No.", "helpfulness": 2, "correctness": 3, "verbosity": 1}],
        fault="rows.meaning_not_read helpfulness",
    ),
    Foreign(
        "guanaco",
        [
            {
                "text": "### Human: Is the sluice open?### Assistant: It is shut."
                "### Human: Since when?### Assistant: Since noon."
            }
        ],
        LONG,
    ),
    # Pairs of answers
    Foreign(
        "UltraFeedback, binarized",
        [
            {
                "prompt": "Is the sluice open?",
                "prompt_id": "p",
                "chosen": TALK,
                "rejected": openai(ASK, "A: Yes."),
                "messages": TALK,
                "score_chosen": 8.5,
                "score_rejected": 6.0,
            }
        ],
        [ASK, SAY],
        rejected="Yes.",
        task="preference",
        says=("score_chosen",),
    ),
    Foreign(
        "UltraFeedback, the rejected one scored higher",
        [
            {
                "prompt": "Is the sluice open?",
                "chosen": TALK,
                "rejected": openai(ASK, "A: Yes."),
                "score_chosen": 6,
                "score_rejected": 8.5,
            }
        ],
        fault="rows.scores_disagree score_chosen",
        task="preference",
    ),
    Foreign(
        "a reward model's scores",
        [
            {
                "prompt": "Is the sluice open?",
                "chosen": "It is shut.",
                "rejected": "Yes.",
                "chosen_score": 2.5,
                "rejected_score": 0.5,
            }
        ],
        [ASK, SAY],
        rejected="Yes.",
        task="preference",
    ),
    Foreign(
        "Argilla's ratings",
        [
            {
                "prompt": "Is the sluice open?",
                "chosen": "It is shut.",
                "rejected": "Yes.",
                "chosen-rating": 5,
                "rejected-rating": 2,
            }
        ],
        [ASK, SAY],
        rejected="Yes.",
        task="preference",
        says=("chosen-rating, rejected-rating: only compared",),
    ),
    Foreign(
        "hh-rlhf",
        [
            {
                "chosen": "\n\nHuman: Is the sluice open?\n\nAssistant: It is shut.",
                "rejected": "\n\nHuman: Is the sluice open?\n\nAssistant: Yes.",
            }
        ],
        [ASK, SAY],
        rejected="Yes.",
        task="preference",
    ),
    Foreign(
        "SHP",
        [
            {
                "post_id": "a",
                "history": "Is the sluice open?",
                "human_ref_A": "Yes.",
                "human_ref_B": "It is shut.",
                "labels": 0,
                "score_A": 3,
                "score_B": 12,
            }
        ],
        [ASK, SAY],
        rejected="Yes.",
        task="preference",
    ),
    Foreign(
        "PKU-SafeRLHF",
        [{"prompt": "Is it?", "response_0": "Yes.", "response_1": "No.", "better_response_id": 1}],
        fault="fork.needs_conversion DATA",
        task="preference",
    ),
    Foreign(
        "PKU-SafeRLHF, the safer one",
        [
            {
                "prompt": "Is the sluice open?",
                "response_0": "Yes.",
                "response_1": "It is shut.",
                "is_response_0_safe": False,
                "is_response_1_safe": True,
                "better_response_id": 0,
                "safer_response_id": 1,
            }
        ],
        [ASK, SAY],
        rejected="Yes.",
        task="preference",
        fields={"better": "safer_response_id"},
    ),
    Foreign(
        "arena",
        [
            {
                "conversation_a": TALK,
                "conversation_b": openai(ASK, "A: Yes."),
                "winner": "model_a",
            }
        ],
        [ASK, SAY],
        rejected="Yes.",
        task="preference",
    ),
    Foreign(
        "UltraFeedback, raw",
        [
            {
                "instruction": "Is it?",
                "completions": [
                    {"response": "No.", "overall_score": 8},
                    {"response": "Yes.", "overall_score": 3},
                ],
            }
        ],
        fault="fork.needs_conversion DATA",
        task="preference",
    ),
    Foreign(
        "Nectar",
        [{"prompt": "Is it?", "answers": [{"answer": "No.", "rank": 1.0}, {"answer": "Yes.", "rank": 2.0}]}],
        fault="fork.needs_conversion DATA",
        task="preference",
    ),
    # Other things
    Foreign(
        "Self-Instruct",
        [{"instruction": "Is it open?", "instances": [{"input": "The sluice.", "output": "No."}]}],
        fault="fork.needs_conversion DATA",
    ),
    Foreign(
        "a question with answers to choose from",
        [{"question": "What is shut?", "choices": ["the sluice", "the door"], "answer": "A"}],
        fault="rows.meaning_not_read choices",
    ),
    Foreign(
        "token ids",
        [{"input_ids": [1, 2, 3], "attention_mask": [1, 1, 1], "labels": [-100, 2, 3]}],
        fault="fork.needs_conversion DATA",
    ),
    Foreign(
        "Axolotl: segments",
        [{"segments": [{"label": False, "text": "Is it?"}, {"label": True, "text": "No."}]}],
        fault="fork.needs_conversion DATA",
    ),
    Foreign(
        "text already in a template",
        [{"text": "<|im_start|>user\nIs it?<|im_end|>\n<|im_start|>assistant\nNo.<|im_end|>"}],
        fault="fork.needs_conversion DATA",
    ),
    Foreign(
        "a ChatGPT export",
        [{"title": "x", "mapping": {"a": {"message": {"author": {"role": "user"}}}}}],
        fault="fork.needs_conversion DATA",
    ),
    # Conversations that do not alternate
    Foreign(
        "a greeting first",
        [{"messages": openai("A: Hello.", *LONG)}],
        fault="rows.turn_order messages[0]",
    ),
    Foreign(
        "a greeting first, dropped",
        [{"messages": openai("S: Be brief.", "A: Hello.", *LONG)}],
        ["S: Be brief.", *LONG],
        source={"repair": ["drop_opening"]},
    ),
    Foreign(
        "a user last",
        [{"messages": openai(*LONG, "U: Thanks.")}],
        fault="rows.last_turn messages[4]",
    ),
    Foreign(
        "a user last, dropped",
        [{"messages": openai(*LONG, "U: Thanks.")}],
        LONG,
        source={"repair": ["drop_unanswered"]},
    ),
    Foreign(
        "no turns",
        [{"messages": []}, {"messages": TALK}, {"messages": TALK}],
        fault="rows.not_turns messages",
    ),
]
