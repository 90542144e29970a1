// Package tap listens in on connections: it counts raw bytes and finds
// canaries, the marked text that infected test bodies are filled with, however
// the protocol above frames them. It must not know any protocol.
package tap
