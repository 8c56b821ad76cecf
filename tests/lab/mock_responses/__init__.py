"""An offline model API (OpenAI's Responses, as server-sent events), enough to drive the real Codex CLI.

    with MockResponses() as api:
        api.url             # http://127.0.0.1:PORT/v1, for a model provider's base_url
        api.requests        # what was asked, in order; each with the id of the response it got
        api.usage           # response id -> the token usage that it told at its end

    python -m lab.mock_responses --port 18080 [--log requests.jsonl]      (with tests/ on PYTHONPATH)

What it answers is chosen by *directives* inside the user's prompt. A prompt is split on ';;' into steps; each
model request of the turn takes one step (its number is the number of tool outputs after the last prompt). So
`TOOL sleep 60 ;; SAY done` is one slow shell command and then an answer.

  SAY text            final assistant text (default: "ok: <prompt>")
  NOTE text           an assistant message *before* the tool call of the same step
  SLOW n              sleep n seconds before the output (SSE comments keep it alive)
  HOLD name           wait before the output until the test calls release(name)
  STREAM n            spread the text over n seconds as deltas
  REASON text         a reasoning item (with summary) before the output
  TOOL cmd            shell command, with whatever shell tool the client offers
  BG cmd              exec_command with yield_time_ms=300 (the process keeps running)
  ESC cmd             as TOOL, asking for escalation (sandbox_permissions=require_escalated)
  PATCH name          apply_patch that adds file `name`
  PLAN                update_plan with three steps
  ASK question        request_user_input (needs plan mode or its feature)
  SPAWN {prompt}      spawn_agent with that child prompt (braces hide nested ';;'; ROLE=x picks an agent type)
  WAITAGENT           wait_agent on the last spawned agent
  CALL [ns/]name json any function tool, verbatim arguments (MCP: CALL mcp__server/tool {..})
  JS source           code-mode `exec` custom tool call with this source
  BIG n               assistant text of n characters
  USAGE in c out r    token usage of this response (input cached output reasoning)
  LIMIT p s           x-codex-primary/secondary-used-percent header values
  FAIL 429|500|401|400|QUOTA|CONTEXT|DISCONNECT|MIDSTREAM|HANG   (FAIL x*2: only the first 2 tries)

GET /v1/models answers with none; POST /v1/responses/compact with a compaction item.
"""

from lab.mock_responses.server import MockResponses, Request

__all__ = ["MockResponses", "Request"]
