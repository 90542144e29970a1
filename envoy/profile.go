package envoy

import (
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
)

// Profile says in which form Envoy hands bodies to Portcullis.
type Profile string

const (
	// Duplex streams both legs to Portcullis and back. It takes bodies of every
	// size and is the default.
	Duplex Profile = "duplex"
	// Buffered lets Envoy hold each body and send it as one message. Bodies over
	// [Options.MaxBodyBytes] get Envoy's own 413 (request) or 500 (response).
	Buffered Profile = "buffered"
	// Adaptive sends no body unless Portcullis asks for it at the request
	// headers. It pays where most traffic is out of scope.
	Adaptive Profile = "adaptive"
)

// Profiles lists every profile, the default first.
func Profiles() []Profile { return []Profile{Duplex, Buffered, Adaptive} }

// holdsWholeBodies reports whether Envoy may have to keep a body of
// MaxBodyBytes in its own memory.
func (p Profile) holdsWholeBodies() bool { return p == Buffered }

func (p Profile) bodyMode() extprocv3.ProcessingMode_BodySendMode {
	switch p {
	case Buffered:
		return extprocv3.ProcessingMode_BUFFERED
	case Adaptive:
		return extprocv3.ProcessingMode_NONE
	case Duplex:
	}
	return extprocv3.ProcessingMode_FULL_DUPLEX_STREAMED
}

// processingMode sends everything but the bodies in every profile, so that
// headers are withheld with the body and the end of a body with trailers is seen.
func processingMode(request, response extprocv3.ProcessingMode_BodySendMode) *extprocv3.ProcessingMode {
	return &extprocv3.ProcessingMode{
		RequestHeaderMode:   extprocv3.ProcessingMode_SEND,
		RequestBodyMode:     request,
		RequestTrailerMode:  extprocv3.ProcessingMode_SEND,
		ResponseHeaderMode:  extprocv3.ProcessingMode_SEND,
		ResponseBodyMode:    response,
		ResponseTrailerMode: extprocv3.ProcessingMode_SEND,
	}
}

// overrides are the only modes Portcullis may choose for an exchange in the
// adaptive profile. BUFFERED is safe for a declared length alone (Envoy 1.40
// hangs above its buffer limit, measured), and only a request declares one at
// the moment of the choice; so no response is buffered. STREAMED, which releases
// before the verdict, is on no leg.
func overrides() []*extprocv3.ProcessingMode {
	var modes []*extprocv3.ProcessingMode
	for _, request := range []extprocv3.ProcessingMode_BodySendMode{
		extprocv3.ProcessingMode_NONE,
		extprocv3.ProcessingMode_BUFFERED,
		extprocv3.ProcessingMode_FULL_DUPLEX_STREAMED,
	} {
		for _, response := range []extprocv3.ProcessingMode_BodySendMode{
			extprocv3.ProcessingMode_NONE,
			extprocv3.ProcessingMode_FULL_DUPLEX_STREAMED,
		} {
			modes = append(modes, processingMode(request, response))
		}
	}
	return modes
}
