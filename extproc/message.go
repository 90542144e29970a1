package extproc

import (
	"net/http"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// modeOf reads Envoy's word for a body mode; a word we do not know is unknown.
func modeOf(m filterv3.ProcessingMode_BodySendMode) mode {
	switch m {
	case filterv3.ProcessingMode_NONE:
		return modeNone
	case filterv3.ProcessingMode_STREAMED:
		return modeStreamed
	case filterv3.ProcessingMode_BUFFERED:
		return modeBuffered
	case filterv3.ProcessingMode_BUFFERED_PARTIAL:
		return modePartial
	case filterv3.ProcessingMode_FULL_DUPLEX_STREAMED:
		return modeDuplex
	case filterv3.ProcessingMode_GRPC:
		return modeGRPC
	}
	return modeUnknown
}

// modesOf reads the modes from a stream's first message. Envoy before 1.34 does
// not send them, and then nothing is known.
func modesOf(req *extprocv3.ProcessingRequest) (request, response mode) {
	c := req.GetProtocolConfig()
	if c == nil {
		return modeUnknown, modeUnknown
	}
	return modeOf(c.GetRequestBodyMode()), modeOf(c.GetResponseBodyMode())
}

// headerValue is the value of a header line. Envoy fills raw_value; a person
// with grpcurl may find value easier to type.
func headerValue(h *corev3.HeaderValue) string {
	if raw := h.GetRawValue(); len(raw) > 0 {
		return string(raw)
	}
	return h.GetValue()
}

// headOf reads what the gate must know from a headers message.
func headOf(l scan.Leg, msg *extprocv3.HttpHeaders) gate.Head {
	h := gate.Head{ContentLength: -1, Empty: msg.GetEndOfStream()}
	lines := msg.GetHeaders().GetHeaders()
	for _, line := range lines {
		readHeader(&h, line)
	}
	h.Header = func(name string) string { return lookUp(lines, name) }
	if l == scan.Request {
		h.Headers = func() map[string]string { return joined(lines) }
		h.Tunnel = h.Tunnel || h.Method == http.MethodConnect
	}
	return h
}

// readHeader takes over one header line. Envoy's names are lower case.
func readHeader(h *gate.Head, line *corev3.HeaderValue) {
	switch line.GetKey() {
	case ":method":
		h.Method = headerValue(line)
	case ":scheme":
		h.Scheme = headerValue(line)
	case ":authority":
		h.Host = headerValue(line)
	case ":path":
		h.Path = headerValue(line)
	case ":status":
		h.Status, _ = strconv.Atoi(headerValue(line)) // Envoy has parsed it before
	case "x-request-id":
		h.RequestID = headerValue(line)
	case "accept":
		h.Accept = appendValue(h.Accept, headerValue(line))
	case "content-type":
		v := headerValue(line)
		h.Labels.ContentType = append(h.Labels.ContentType, v)
		h.GRPC = h.GRPC || isGRPC(v)
	case "content-encoding":
		h.Labels.ContentEncoding = append(h.Labels.ContentEncoding, headerValue(line))
	case "content-length":
		h.ContentLength = contentLength(headerValue(line))
	case "upgrade":
		h.Tunnel = true
	}
}

func isGRPC(contentType string) bool {
	const grpc = "application/grpc"
	if len(contentType) < len(grpc) || !strings.EqualFold(contentType[:len(grpc)], grpc) {
		return false
	}
	rest := contentType[len(grpc):]
	return rest == "" || rest[0] == '+' || rest[0] == ';'
}

// contentLength reads a declared length; Envoy has refused malformed ones, so
// what cannot be read is as good as not declared.
func contentLength(v string) int64 {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

func appendValue(have, more string) string {
	if have == "" {
		return more
	}
	return have + "," + more
}

func lookUp(lines []*corev3.HeaderValue, name string) string {
	v := ""
	for _, line := range lines {
		if line.GetKey() == name {
			v = appendValue(v, headerValue(line))
		}
	}
	return v
}

func joined(lines []*corev3.HeaderValue) map[string]string {
	m := make(map[string]string, len(lines))
	for _, line := range lines {
		m[line.GetKey()] = appendValue(m[line.GetKey()], headerValue(line))
	}
	return m
}

// acceptable is the client's Accept-Encoding (RFC 9110 section 12.5.3) without the
// codings that the gate cannot read, so that no origin chooses one of them; none
// when nothing of it has to change. A client that accepts anything is offered what
// the gate reads.
func acceptable(h gate.Head) []gate.Header {
	const name, all = "accept-encoding", "gzip, br, zstd, identity"
	value := h.Header(name)
	if value == "" {
		return nil
	}
	var kept []string
	changed, anything := false, false
	for element := range strings.SplitSeq(value, ",") {
		coding, weight, _ := strings.Cut(element, ";")
		switch coding = strings.ToLower(strings.TrimSpace(coding)); coding {
		case "":
			continue
		case "identity", "gzip", "x-gzip", "deflate", "br", "zstd":
			kept = append(kept, strings.TrimSpace(element))
			continue
		case "*":
			if weight = strings.ReplaceAll(weight, " ", ""); weight == "q=0" || strings.HasPrefix(weight, "q=0.") && strings.Trim(weight[4:], "0") == "" {
				kept = append(kept, strings.TrimSpace(element)) // nothing but what is named
				continue
			}
			anything = true
		}
		changed = true
	}
	switch {
	case !changed:
		return nil
	case anything && len(kept) == 0:
		return []gate.Header{{Name: name, Value: all}}
	case len(kept) == 0:
		return []gate.Header{{Name: name, Value: "identity"}}
	}
	return []gate.Header{{Name: name, Value: strings.Join(kept, ", ")}}
}

// ranges returns the names of headers that ask for a piece of a response, or for
// what changed since another one (RFC 3229).
func ranges(h gate.Head) []string {
	var names []string
	for _, name := range []string{"range", "if-range", "a-im"} {
		if h.Header(name) != "" {
			names = append(names, name)
		}
	}
	return names
}

// spoofed returns the names of headers that only Portcullis may set.
func spoofed(headers *corev3.HeaderMap) []string {
	var names []string
	for _, line := range headers.GetHeaders() {
		if name := line.GetKey(); strings.HasPrefix(strings.ToLower(name), gate.HeaderPrefix) {
			names = append(names, name)
		}
	}
	return names
}
