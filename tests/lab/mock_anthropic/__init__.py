"""An offline model API (Anthropic's Messages, streamed or whole), enough to drive the real Claude Code.

    with MockAnthropic() as api:
        api.url             # http://127.0.0.1:PORT, for ANTHROPIC_BASE_URL
        api.requests        # what was asked, in order; each with the id of the message it was answered with

    python -m lab.mock_anthropic --port 8765 [--log requests.jsonl]      (with tests/ on PYTHONPATH)

The newest prompt of the user is a script: steps, parted by ';;'. Step i answers the i-th model call of that
turn (i is the number of assistant messages behind the prompt), so the server itself keeps no conversation.

  SAY text            plain text                     THINK text    thinking, then text
  RUN cmd             the tool Bash                  RUNBG cmd     Bash with run_in_background
  READ p | WRITE p t | EDIT p a b                    the file tools
  TODO | TASKNEW s | TASKUP id status                task lists
  ASK                 AskUserQuestion                PLAN          ExitPlanMode
  AGENT script        a sub-agent with that script (',,' in it for ';;')   AGENTBG script    in the background
  MULTI cmd | cmd     thinking, text and several Bash calls in one message
  TOOL Name {json}    any tool                       BIG n         n characters of text
  ERR code            fails with that HTTP status, always              ERRN code n   n times, then answers
  MIDERR              an error event after some text       CUT           the connection goes in mid-text
  MAXTOK | REFUSE     stop_reason max_tokens, refusal
  anywhere in a step: SLOW n (the answer takes n seconds), WAIT n (n seconds before the first byte), HOLD name
  (nothing before the test calls release(name)), CTX n and OUT n (cached, and output, tokens that it reports)

Any other text is answered with "ok: <text>"; when a script is at its end, "all done".
"""

from lab.mock_anthropic.server import MockAnthropic, Request

__all__ = ["MockAnthropic", "Request"]
