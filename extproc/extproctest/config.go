package extproctest

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Config is the part of Envoy's configuration that changes what a processor
// sees. The zero value is Envoy's default: headers sent, bodies and trailers
// not, 200 ms to answer, fail-closed.
type Config struct {
	// Mode is the filter-level processing_mode. Unset header modes mean SEND,
	// unset trailer modes SKIP, unset body modes NONE, as in Envoy.
	Mode *filterv3.ProcessingMode
	// AllowModeOverride is allow_mode_override. Overrides are ignored when a
	// filter-level body mode is FULL_DUPLEX_STREAMED.
	AllowModeOverride bool
	// AllowedOverrides is allowed_override_modes: when not empty, a merged
	// mode that is not listed is ignored.
	AllowedOverrides []*filterv3.ProcessingMode
	// FailureModeAllow is failure_mode_allow.
	FailureModeAllow bool
	// StatusOnError is status_on_error; 0 means 500.
	StatusOnError int
	// DisableImmediateResponse is disable_immediate_response.
	DisableImmediateResponse bool
	// ObservabilityMode is observability_mode: nothing is held, answers are
	// ignored, no protocol_config is sent.
	ObservabilityMode bool
	// AllowContentLength is allow_content_length_header (Envoy 1.38).
	AllowContentLength bool
	// BufferLimit is the stream's buffer limit in bytes; 0 means 1 MiB.
	BufferLimit int
	// Window is how many bytes may wait for the processor before Envoy stops
	// reading from client and origin; 0 means 256 KiB.
	Window int
	// MessageTimeout is message_timeout; 0 means 200 ms. It never runs on a
	// leg whose body mode is FULL_DUPLEX_STREAMED. [Envoy.Open] runs no timer.
	MessageTimeout time.Duration
	// MaxMessageTimeout is max_message_timeout; 0 ignores every
	// override_message_timeout.
	MaxMessageTimeout time.Duration
	// StreamIdleTimeout is the connection manager's stream_idle_timeout; 0
	// means 5 minutes. Its expiry is what [Result.Hang] reports.
	StreamIdleTimeout time.Duration
	// InitialMetadata is grpc_initial_metadata.
	InitialMetadata map[string]string
	// MetadataContext is put in every message.
	MetadataContext *corev3.Metadata
	// RequestAttributes and ResponseAttributes go with the first message of
	// their leg, under envoy.filters.http.ext_proc.
	RequestAttributes, ResponseAttributes *structpb.Struct
	// ReceivingNamespaces is metadata_options.receiving_namespaces.untyped:
	// dynamic metadata in any other namespace is dropped.
	ReceivingNamespaces []string
	// Ending is how Envoy leaves the stream.
	Ending Ending
	// Quirks of single releases.
	Quirks Quirks
	// Patience bounds every wait of a hand-ordered [Stream]; 0 means 10 s.
	Patience time.Duration
}

// Quirks switch on what only some releases of Envoy do.
type Quirks struct {
	// DuplicateEnd sends a second body message with end_of_stream after the
	// end of a FULL_DUPLEX_STREAMED body (1.35 to 1.37, #46237).
	DuplicateEnd bool
	// EmptyChunks puts an empty chunk without end_of_stream before every chunk
	// of a STREAMED body (up to 1.37, #44101).
	EmptyChunks bool
	// NoProtocolConfig leaves protocol_config out (before 1.34).
	NoProtocolConfig bool
	// SpuriousFailsOpen lets an exchange pass after a spurious message even
	// when fail-closed (before 1.35).
	SpuriousFailsOpen bool
	// HeadersAtOnce lets headers of a FULL_DUPLEX_STREAMED leg leave on the
	// header answer instead of the first body answer (up to 1.36).
	HeadersAtOnce bool
}

// Ending is how Envoy leaves the stream once nothing more is expected.
type Ending uint8

const (
	// EndBoth sends END_STREAM and RST_STREAM at once, as Envoy does; the
	// processor sees io.EOF or Canceled.
	EndBoth Ending = iota
	// EndHalfClose sends END_STREAM only and waits up to [Config.Patience] for
	// the processor to end the RPC, so that a late message and the status are
	// seen for certain.
	EndHalfClose
)

// Duplex is the default profile: FULL_DUPLEX_STREAMED on both legs, headers and
// trailers sent.
func Duplex() Config {
	return Config{Mode: mode(filterv3.ProcessingMode_FULL_DUPLEX_STREAMED, filterv3.ProcessingMode_SEND)}
}

// Buffered is BUFFERED on both legs with headers sent and a minute to answer.
func Buffered() Config {
	return Config{
		Mode:           mode(filterv3.ProcessingMode_BUFFERED, filterv3.ProcessingMode_SKIP),
		MessageTimeout: time.Minute,
	}
}

// Adaptive is NONE on both legs with overrides allowed and a minute to answer.
func Adaptive() Config {
	return Config{
		Mode:              mode(filterv3.ProcessingMode_NONE, filterv3.ProcessingMode_SKIP),
		AllowModeOverride: true, MessageTimeout: time.Minute,
	}
}

func mode(body filterv3.ProcessingMode_BodySendMode, trailers filterv3.ProcessingMode_HeaderSendMode) *filterv3.ProcessingMode {
	return &filterv3.ProcessingMode{
		RequestHeaderMode: filterv3.ProcessingMode_SEND, ResponseHeaderMode: filterv3.ProcessingMode_SEND,
		RequestBodyMode: body, ResponseBodyMode: body,
		RequestTrailerMode: trailers, ResponseTrailerMode: trailers,
	}
}

// withDefaults fills in what the zero value means.
func (c Config) withDefaults() Config {
	m := &filterv3.ProcessingMode{}
	if c.Mode != nil {
		m = proto.CloneOf(c.Mode)
	}
	c.Mode = merge(mode(filterv3.ProcessingMode_NONE, filterv3.ProcessingMode_SKIP), m)
	c.Mode.RequestHeaderMode = orMode(m.RequestHeaderMode, filterv3.ProcessingMode_SEND)
	c.StatusOnError = or(c.StatusOnError, 500)
	c.BufferLimit = or(c.BufferLimit, 1<<20)
	c.Window = or(c.Window, 256<<10)
	c.MessageTimeout = or(c.MessageTimeout, 200*time.Millisecond)
	c.StreamIdleTimeout = or(c.StreamIdleTimeout, 5*time.Minute)
	c.Patience = or(c.Patience, 10*time.Second)
	return c
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func orMode(v, otherwise filterv3.ProcessingMode_HeaderSendMode) filterv3.ProcessingMode_HeaderSendMode {
	return or(v, otherwise)
}

// merge applies a mode_override as Envoy 1.34 and newer do: body modes are
// literal, header and trailer modes left DEFAULT keep what was, and
// request_header_mode is never changed.
func merge(base, o *filterv3.ProcessingMode) *filterv3.ProcessingMode {
	return &filterv3.ProcessingMode{
		RequestHeaderMode:   base.RequestHeaderMode,
		ResponseHeaderMode:  orMode(o.ResponseHeaderMode, base.ResponseHeaderMode),
		RequestBodyMode:     o.RequestBodyMode,
		ResponseBodyMode:    o.ResponseBodyMode,
		RequestTrailerMode:  orMode(o.RequestTrailerMode, base.RequestTrailerMode),
		ResponseTrailerMode: orMode(o.ResponseTrailerMode, base.ResponseTrailerMode),
	}
}

// override returns the merged mode and whether Envoy honours it.
func (c Config) override(o *filterv3.ProcessingMode) (*filterv3.ProcessingMode, bool) {
	if !c.AllowModeOverride ||
		c.Mode.RequestBodyMode == filterv3.ProcessingMode_FULL_DUPLEX_STREAMED ||
		c.Mode.ResponseBodyMode == filterv3.ProcessingMode_FULL_DUPLEX_STREAMED {
		return c.Mode, false
	}
	merged := merge(c.Mode, o)
	if len(c.AllowedOverrides) == 0 {
		return merged, true
	}
	for _, a := range c.AllowedOverrides {
		if proto.Equal(merge(c.Mode, a), merged) {
			return merged, true
		}
	}
	return c.Mode, false
}

// protocolConfig is what the first message of a stream says about the modes.
func (c Config) protocolConfig() *extprocv3.ProtocolConfiguration {
	if c.ObservabilityMode || c.Quirks.NoProtocolConfig {
		return nil
	}
	return &extprocv3.ProtocolConfiguration{
		RequestBodyMode: c.Mode.RequestBodyMode, ResponseBodyMode: c.Mode.ResponseBodyMode,
	}
}
