// Package extproctest is the other side of Envoy's external processing
// protocol: a fake Envoy that drives an ext_proc server over real gRPC and
// enforces the protocol as Envoy 1.40 does. Whatever would make a real Envoy
// end, bypass, hang or corrupt an exchange is recorded as a [Violation] and
// has the effect it has in Envoy.
//
// It knows Envoy's wire format only. It must not import the processor it
// tests, nor anything of scan: a mistake shared by both sides would go unseen.
//
// # Whole exchanges
//
// [Envoy.Do] plays client, Envoy and origin: it holds and releases what Envoy
// holds and releases, in every body mode, with Envoy's buffer limits, timers,
// back-pressure and local replies.
//
//	conn := extproctest.Serve(t, server)
//	res := extproctest.New(conn, extproctest.Duplex()).Do(ctx, extproctest.Exchange{
//		Request: extproctest.Message{Body: extproctest.Cut(body, 16<<10)},
//		Origin:  func(got extproctest.Received) extproctest.Message { … },
//	})
//	res.MustBeLawful(t)
//
// # Messages by hand
//
// [Envoy.Open] begins a stream whose messages the test orders itself, for
// interleavings that a whole exchange does not produce.
//
// # Conversation files
//
// [RunConversation] runs a txtar archive. Its first line states the promise;
// section "config" says how Envoy is set up, section "conversation" says what
// is spoken; other sections are for the test ([Conversation.Sections]).
//
//	An infected upload is answered with 403 and nothing of it is released.
//
//	-- config --
//	profile: duplex
//	-- conversation --
//	> request-headers POST /upload content-type=text/plain
//	> request-body "some bytes" cut=4
//	< silence 30s
//	> request-body $eicar end
//	< immediate 403 contains "malware"
//	> close
//	< end OK
//
// Settings are "name: value": profile (duplex, which is the default, buffered,
// adaptive; put it first), request-body-mode, response-body-mode,
// request-header-mode, response-header-mode, request-trailer-mode,
// response-trailer-mode (Envoy's constants), and allow-mode-override,
// disable-immediate-response, observability-mode, no-protocol-config (true,
// false).
//
// A statement is a line; blank lines and lines that begin with # are skipped.
// What Envoy says (a last word "end" is end_of_stream):
//
//	> request-headers METHOD PATH [KEY=VALUE …] [end]
//	> response-headers STATUS [KEY=VALUE …] [end]
//	> request-body | response-body [CONTENT …] [cut=SIZE] [end]
//	> request-trailers | response-trailers [KEY=VALUE …]
//	> close                                   END_STREAM
//	> cancel                                  RST_STREAM
//
// What must be answered next:
//
//	< request-headers | response-headers [KEY=VALUE …] [!KEY …] [override=REQUEST/RESPONSE]
//	                                          set, removed, body modes of a mode_override (or none)
//	< request-body | response-body            unchanged (not in FULL_DUPLEX_STREAMED)
//	< request-body | response-body clear
//	< request-body | response-body CONTENT … [end]
//	                                          replaced; in FULL_DUPLEX_STREAMED as many
//	                                          chunks as make up the content
//	< request-trailers | response-trailers
//	< immediate [STATUS] [contains CONTENT] [details CONTENT] [KEY=VALUE …]
//	< metadata NAMESPACE [KEY=VALUE …]        of the answer just read; a.b is key b inside a
//	< silence [DURATION]                      nothing for that long (100ms)
//	< end [CODE]                              the RPC ends, with this gRPC status
//	wait DURATION                             time passes
//
// CONTENT is terms joined by plus signs without blanks: "text" quoted as in Go,
// $eicar, zeros:SIZE, random:SIZE:SEED. SIZE may end in KiB or MiB. A value with
// blanks is quoted: content-type="text/plain; charset=utf-8".
//
// # Time
//
// Everything works in a testing/synctest bubble if server, connection and Envoy
// are created inside it; silences and time-outs then cost nothing.
//
// # Where the fake is simpler than Envoy
//
// GRPC body mode is treated like FULL_DUPLEX_STREAMED (Envoy leaves it
// undefined). StreamedImmediateResponse and the standalone mode_override of 1.40
// are refused. BUFFERED_PARTIAL caps the body at the buffer limit plus the last
// chunk. Header mutations obey the default mutation_rules. Routing, retries,
// other filters and HTTP framing do not exist. Headers of a leg that its own
// header answer overrides to FULL_DUPLEX_STREAMED leave at once: measured on the
// response leg of 1.40.0 only, but the worse case for a processor. After a clean close amid a
// FULL_DUPLEX_STREAMED body the hang is reported at once.
package extproctest
