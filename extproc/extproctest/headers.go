package extproctest

import (
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// Header is one header line. Keys are lower-case; pseudo-headers are included.
type Header struct{ Key, Value string }

// Headers are header lines in order.
type Headers []Header

// H builds headers from key, value, key, value …; it panics on an odd count.
func H(kv ...string) Headers {
	if len(kv)%2 != 0 {
		panic("extproctest.H: odd number of strings")
	}
	h := make(Headers, 0, len(kv)/2)
	for i := 0; i < len(kv); i += 2 {
		h = append(h, Header{strings.ToLower(kv[i]), kv[i+1]})
	}
	return h
}

// Get returns the first value of key, or "".
func (h Headers) Get(key string) string {
	for _, l := range h {
		if l.Key == key {
			return l.Value
		}
	}
	return ""
}

// Values returns every value of key, in order.
func (h Headers) Values(key string) []string {
	var v []string
	for _, l := range h {
		if l.Key == key {
			v = append(v, l.Value)
		}
	}
	return v
}

// Has reports whether key is present.
func (h Headers) Has(key string) bool { return len(h.Values(key)) > 0 }

// Without returns the headers less key.
func (h Headers) Without(key string) Headers {
	out := make(Headers, 0, len(h))
	for _, l := range h {
		if l.Key != key {
			out = append(out, l)
		}
	}
	return out
}

// toProto writes values to raw_value only, as Envoy does.
func (h Headers) toProto() *corev3.HeaderMap {
	m := &corev3.HeaderMap{Headers: make([]*corev3.HeaderValue, 0, len(h))}
	for _, l := range h {
		m.Headers = append(m.Headers, &corev3.HeaderValue{Key: strings.ToLower(l.Key), RawValue: []byte(l.Value)})
	}
	return m
}

// length is the declared content-length, or -1.
func (h Headers) length() int64 {
	n, err := strconv.ParseInt(h.Get("content-length"), 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// Limits of Envoy's header maps.
const (
	maxHeaderCount = 100
	maxHeaderBytes = 60 << 10
)

// judgeMutation returns what Envoy objects to in m, whatever it is applied to.
func judgeMutation(m *extprocv3.HeaderMutation) []Violation {
	var vs []Violation
	for _, o := range m.GetSetHeaders() {
		vs = append(vs, judgeSetHeader(o)...)
	}
	for _, k := range m.GetRemoveHeaders() {
		if strings.HasPrefix(k, ":") || strings.EqualFold(k, "host") {
			vs = append(vs, minor(RuleIgnoredMutation, "removing %q is never allowed", k))
		}
	}
	return vs
}

func judgeSetHeader(o *corev3.HeaderValueOption) []Violation {
	var vs []Violation
	key, value, raw := o.GetHeader().GetKey(), o.GetHeader().GetValue(), o.GetHeader().GetRawValue()
	switch {
	case value != "" && len(raw) > 0:
		vs = append(vs, fatal(RuleBadMutation, "header %q has both value and raw_value", key))
	case value != "":
		vs = append(vs, minor(RuleHeaderValue, "header %q is set by value, not raw_value", key))
	}
	if key == "" || strings.ContainsAny(key, "\r\n\x00 ") || strings.ContainsAny(string(raw), "\r\n\x00") {
		vs = append(vs, fatal(RuleBadMutation, "header %q or its value has forbidden characters", key))
	}
	if a := o.GetAppendAction(); a == corev3.HeaderValueOption_ADD_IF_ABSENT || a == corev3.HeaderValueOption_OVERWRITE_IF_EXISTS {
		vs = append(vs, minor(RuleAppendAction, "header %q: Envoy ignores append_action %s", key, a))
	}
	if protected(key) {
		vs = append(vs, minor(RuleIgnoredMutation, "header %q may not be set under the default mutation_rules", key))
	}
	return vs
}

// protected are the headers that default mutation_rules leave alone.
func protected(key string) bool {
	switch k := strings.ToLower(key); k {
	case "host", ":authority", ":method", ":path", ":scheme":
		return true
	default:
		return strings.HasPrefix(k, "x-envoy-")
	}
}

// apply returns the headers after m: removals first, then settings; raw_value
// only; `append` adds, otherwise the header is overwritten.
func (h Headers) apply(m *extprocv3.HeaderMutation) Headers {
	out := append(Headers(nil), h...)
	for _, k := range m.GetRemoveHeaders() {
		if k = strings.ToLower(k); !strings.HasPrefix(k, ":") && k != "host" {
			out = out.Without(k)
		}
	}
	for _, o := range m.GetSetHeaders() {
		key := strings.ToLower(o.GetHeader().GetKey())
		if protected(key) {
			continue
		}
		if !o.GetAppend().GetValue() { //nolint:staticcheck // the deprecated field is the one Envoy reads
			out = out.Without(key)
		}
		out = append(out, Header{key, string(o.GetHeader().GetRawValue())})
	}
	return out
}

// tooMany reports whether Envoy's limits of a header map are passed.
func (h Headers) tooMany() bool {
	n := 0
	for _, l := range h {
		n += len(l.Key) + len(l.Value)
	}
	return len(h) > maxHeaderCount || n > maxHeaderBytes
}
