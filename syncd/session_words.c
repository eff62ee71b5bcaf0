/* SPDX-License-Identifier: Apache-2.0 */
/* What the numbers of session_wire mean, in words. */
#include "syncd/session_wire.h"

static const struct {
	const char *name, *text;
} verdicts[SESSION_VERDICTS] = {
	[SESSION_OK] = {"ok", "nothing is wrong"},
	[SESSION_BAD_TYPE] = {"bad-type", "a frame of a type that this version does not know"},
	[SESSION_TOO_SHORT] = {"too-short", "a field reaches past the end of the frame"},
	[SESSION_TRAILING_BYTES] = {"trailing-bytes", "the frame goes on after its last field"},
	[SESSION_TOO_LARGE] = {"too-large", "the frame is longer than the 61440 bytes allowed"},
	[SESSION_BAD_VERSION] = {"bad-version", "it speaks another version of the protocol"},
	[SESSION_BAD_NAME] = {"bad-name",
			      "a name is empty or has characters that names do not have"},
	[SESSION_NAME_TOO_LONG] = {"name-too-long", "a name is longer than 63 bytes"},
	[SESSION_DUPLICATE_NAME] = {"duplicate-name", "two mirrors have the same name"},
	[SESSION_TOO_MANY_MIRRORS] = {"too-many-mirrors", "there are more than 16 mirrors"},
	[SESSION_BAD_SLOT] = {"bad-slot", "a mirror's place is past the 16 that there can be"},
	[SESSION_BAD_FLAG] = {"bad-flag", "a flag is neither 0 nor 1"},
	[SESSION_BAD_TRANSFER] = {"bad-transfer", "a transfer or a question has the number 0"},
	[SESSION_HEADER_TOO_LONG] = {"header-too-long",
				     "a generation's header is longer than 8192 bytes"},
	[SESSION_EMPTY_HEADER] = {"empty-header", "a generation's header is empty"},
	[SESSION_TOO_MANY_ENTRIES] = {"too-many-entries",
				      "a tree with more than 200000 entries is announced"},
	[SESSION_EMPTY_CHUNK] = {"empty-chunk", "a piece without anything in it"},
	[SESSION_BAD_ENCODING] = {"bad-encoding", "content in an encoding that this version does "
						  "not know"},
	[SESSION_OBJECT_TOO_LARGE] = {"object-too-large",
				      "content is larger than 4 GiB, or than its own announcement"},
	[SESSION_CHUNK_OUT_OF_BOUNDS] = {"chunk-out-of-bounds",
					 "a piece reaches past the announced size"},
	[SESSION_BAD_NEED] = {"bad-need",
			      "a NEED of an unknown kind, or with no or too many hashes"},
	[SESSION_BAD_OUTCOME] = {"bad-outcome", "an outcome that this version does not know"},
	[SESSION_TEXT_TOO_LONG] = {"text-too-long", "a text is too long, or has a NUL in it"},
	[SESSION_BAD_PATH] = {"bad-path", "a path is empty, not absolute, or has a NUL in it"},
	[SESSION_PATH_TOO_LONG] = {"path-too-long", "a path is longer than 4096 bytes"},
	[SESSION_BAD_ENTRY_TYPE] = {"bad-entry-type", "an entry is no directory, file or link"},
};

const char *session_verdict_name(enum session_verdict verdict)
{
	return (unsigned)verdict < SESSION_VERDICTS ? verdicts[verdict].name : "?";
}

const char *session_verdict_text(enum session_verdict verdict)
{
	return (unsigned)verdict < SESSION_VERDICTS ? verdicts[verdict].text : "?";
}

static const char *const frame_names[] = {
	[SESSION_WELCOME] = "WELCOME",
	[SESSION_PING] = "PING",
	[SESSION_PONG] = "PONG",
	[SESSION_BYE] = "BYE",
	[SESSION_HELLO] = "HELLO",
	[SESSION_HEAD] = "HEAD",
	[SESSION_OFFER] = "OFFER",
	[SESSION_ENTRIES] = "ENTRIES",
	[SESSION_CONTENT] = "CONTENT",
	[SESSION_END] = "END",
	[SESSION_NEED] = "NEED",
	[SESSION_CANCEL] = "CANCEL",
	[SESSION_WANT] = "WANT",
	[SESSION_RESULT] = "RESULT",
	[SESSION_VERIFY] = "VERIFY",
	[SESSION_WALK_ASK] = "WALK_ASK",
	[SESSION_WALK_ANSWER] = "WALK_ANSWER",
	[SESSION_SYNC_REQUEST] = "SYNC_REQUEST",
	[SESSION_NODE] = "NODE",
};

const char *session_frame_name(uint8_t type)
{
	if (type >= sizeof(frame_names) / sizeof(frame_names[0]) || !frame_names[type])
		return "?";
	return frame_names[type];
}

static const char *const outcome_names[SESSION_OUTCOMES] = {
	[SESSION_RECEIVED] = "received", [SESSION_STAGED] = "staged",
	[SESSION_LIVE] = "live",	 [SESSION_LOADED] = "loaded",
	[SESSION_REFUSED] = "refused",	 [SESSION_WAITING] = "waiting",
	[SESSION_CONFLICT] = "conflict", [SESSION_DIVERGED] = "diverged",
	[SESSION_FAILED] = "failed",	 [SESSION_SUPERSEDED] = "superseded",
	[SESSION_ABSENT] = "absent",
};

const char *session_outcome_name(enum session_outcome outcome)
{
	return (unsigned)outcome < SESSION_OUTCOMES ? outcome_names[outcome] : "?";
}

bool session_outcome_final(enum session_outcome outcome)
{
	switch (outcome) {
	case SESSION_RECEIVED:
	case SESSION_STAGED:
	case SESSION_WAITING:
		return false;
	case SESSION_LIVE:
	case SESSION_LOADED:
	case SESSION_REFUSED:
	case SESSION_CONFLICT:
	case SESSION_DIVERGED:
	case SESSION_FAILED:
	case SESSION_SUPERSEDED:
	case SESSION_ABSENT:
	case SESSION_OUTCOMES:
		break;
	}
	return true;
}
