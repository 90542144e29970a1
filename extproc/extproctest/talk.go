package extproctest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Run holds the conversation with the processor behind conn.
func (c Conversation) Run(t testing.TB, conn grpc.ClientConnInterface) {
	t.Helper()
	s := New(conn, c.Config).Open(t.Context(), t)
	talk := &talk{s: s}
	for _, l := range c.lines {
		err := talk.line(l.words)
		if vs := s.TakeViolations(); err == nil && len(vs) > 0 {
			err = fmt.Errorf("protocol violation: %s", vs[0])
		}
		if err != nil {
			t.Fatalf("%s:%d: %v\nthe promise: %s\nthe conversation was:\n%s", c.File, l.number, err, c.Promise, s.Log())
		}
	}
}

// talk carries out statements.
type talk struct {
	s    *Stream
	last *extprocv3.ProcessingResponse
}

func (k *talk) line(words []string) error {
	switch words[0] {
	case "wait":
		d, err := time.ParseDuration(words[1])
		time.Sleep(d)
		return err
	case ">":
		return k.say(words[1], words[2:])
	}
	return k.hear(words[1], words[2:])
}

// cutEnd removes a last word "end".
func cutEnd(words []string) ([]string, bool) {
	if n := len(words); n > 0 && words[n-1] == "end" {
		return words[:n-1], true
	}
	return words, false
}

func headerWords(words []string) (Headers, error) {
	var h Headers
	for _, w := range words {
		kv, ok := keyValue(w)
		if !ok {
			return nil, fmt.Errorf("%q is not key=value", w)
		}
		h = append(h, kv)
	}
	return h, nil
}

func (k *talk) say(what string, words []string) error {
	switch Kind(what) {
	case RequestHeaders:
		return k.sayHeaders(Request, 2, words)
	case ResponseHeaders:
		return k.sayHeaders(Response, 1, words)
	case RequestBody:
		return k.sayBody(Request, words)
	case ResponseBody:
		return k.sayBody(Response, words)
	case RequestTrailers, ResponseTrailers:
		h, err := headerWords(words)
		if err != nil {
			return err
		}
		k.s.SendRaw(k.s.say.trailers(legOf(what), h))
		return nil
	case "close":
		k.s.CloseSend()
		return nil
	case "cancel":
		k.s.Cancel()
		return nil
	default:
		return fmt.Errorf("Envoy cannot say %q", what)
	}
}

func legOf(kind string) Leg {
	if strings.HasPrefix(kind, "response") {
		return Response
	}
	return Request
}

func (k *talk) sayHeaders(l Leg, fixed int, words []string) error {
	words, end := cutEnd(words)
	if len(words) < fixed {
		return fmt.Errorf("%s-headers needs METHOD PATH or STATUS first", l)
	}
	h, err := headerWords(words[fixed:])
	if err != nil {
		return err
	}
	m := Message{Headers: append(H(":status", words[0]), h...)}
	if l == Request {
		m.Headers = append(H(":method", words[0], ":scheme", "http", ":authority", "example.com", ":path", words[1]), h...)
	}
	k.s.SendRaw(k.s.say.headers(l, m.complete(l).Headers, end))
	return nil
}

func (k *talk) sayBody(l Leg, words []string) error {
	words, end := cutEnd(words)
	size := 1 << 30
	var b []byte
	for _, w := range words {
		if v, ok := strings.CutPrefix(w, "cut="); ok {
			n, err := parseSize(v)
			if err != nil || n == 0 {
				return fmt.Errorf("%q cuts nothing", w)
			}
			size = n
			continue
		}
		c, err := Content(w)
		if err != nil {
			return err
		}
		b = append(b, c...)
	}
	chunks := Cut(b, size)
	for i, chunk := range chunks {
		k.s.SendRaw(k.s.say.body(l, chunk, end && i == len(chunks)-1))
	}
	return nil
}

func (k *talk) hear(what string, words []string) error {
	switch what {
	case "silence":
		return k.hearSilence(words)
	case "end":
		return k.hearEnd(words)
	case "metadata":
		return k.hearMetadata(words)
	case string(RequestBody), string(ResponseBody):
		return k.hearBody(Kind(what), words)
	}
	if err := k.next(Kind(what)); err != nil {
		return err
	}
	switch Kind(what) {
	case RequestHeaders, ResponseHeaders:
		return k.checkHeaders(words)
	case RequestTrailers, ResponseTrailers:
		if len(words) > 0 {
			return fmt.Errorf("nothing may follow %s", what)
		}
		return nil
	case Immediate:
		return k.checkImmediate(words)
	default:
		return fmt.Errorf("a processor cannot say %q", what)
	}
}

func (k *talk) next(want Kind) error {
	m, err := k.s.Next()
	if err != nil {
		return fmt.Errorf("want %s, but %w", want, err)
	}
	k.last = m
	if got := KindOf(m); got != want {
		return fmt.Errorf("want %s, got %s", want, describeAnswer(m))
	}
	return nil
}

func (k *talk) hearSilence(words []string) error {
	d := 100 * time.Millisecond
	if len(words) == 1 {
		var err error
		if d, err = time.ParseDuration(words[0]); err != nil {
			return err
		}
	}
	switch m, err := k.s.next(d); {
	case err == nil:
		return fmt.Errorf("want silence, got %s", describeAnswer(m))
	case !errors.Is(err, errSilence):
		return fmt.Errorf("want silence, but %w", err)
	}
	return nil
}

func (k *talk) hearEnd(words []string) error {
	err := k.s.End()
	if errors.Is(err, errSilence) {
		return err
	}
	got := codes.OK
	if !cleanEnd(err) {
		got = status.Code(err)
	}
	if len(words) == 1 && !strings.EqualFold(got.String(), words[0]) {
		return fmt.Errorf("want the RPC to end with %s, got %s", words[0], got)
	}
	return nil
}

func (k *talk) hearMetadata(words []string) error {
	if len(words) < 1 || k.last == nil {
		return errors.New("metadata needs a namespace, after an answer")
	}
	want, err := headerWords(words[1:])
	if err != nil {
		return err
	}
	for _, kv := range want {
		value := k.last.GetDynamicMetadata().GetFields()[words[0]]
		for step := range strings.SplitSeq(kv.Key, ".") {
			value = value.GetStructValue().GetFields()[step]
		}
		got := fmt.Sprint(value.AsInterface())
		if got != kv.Value {
			return fmt.Errorf("want metadata %s:%s to be %q, got %q", words[0], kv.Key, kv.Value, got)
		}
	}
	return nil
}

// hearBody takes one body answer, or on a FULL_DUPLEX_STREAMED leg as many
// chunks as make up the content.
func (k *talk) hearBody(kind Kind, words []string) error {
	words, end := cutEnd(words)
	var want []byte
	for _, w := range words {
		if w == "clear" {
			break
		}
		b, err := Content(w)
		if err != nil {
			return err
		}
		want = append(want, b...)
	}
	var got []byte
	for {
		if err := k.next(kind); err != nil {
			return err
		}
		mutation := commonOf(k.last).GetBodyMutation()
		chunk := mutation.GetStreamedResponse()
		if chunk == nil {
			return checkBody(mutation, words, want)
		}
		got = append(got, chunk.GetBody()...)
		if chunk.GetEndOfStream() && !end {
			return errors.New("the body ended too soon")
		}
		if chunk.GetEndOfStream() || !end && len(got) >= len(want) {
			return sameBytes(got, want)
		}
		if len(got) > len(want) {
			return sameBytes(got, want)
		}
	}
}

func checkBody(m *extprocv3.BodyMutation, words []string, want []byte) error {
	switch {
	case len(words) == 0 && m != nil:
		return errors.New("want the body unchanged, got a body mutation")
	case len(words) == 0:
		return nil
	case words[0] == "clear" && m.GetClearBody():
		return nil
	case words[0] == "clear" || m == nil:
		return fmt.Errorf("want body %s, got mutation %v", words[0], m)
	}
	return sameBytes(m.GetBody(), want)
}

func sameBytes(got, want []byte) error {
	if bytes.Equal(got, want) {
		return nil
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	return fmt.Errorf("the body differs from offset %d on: got %d bytes, want %d", at, len(got), len(want))
}

func (k *talk) checkHeaders(words []string) error {
	c := commonOf(k.last)
	set := Headers{}.apply(c.GetHeaderMutation())
	for _, w := range words {
		if key, ok := strings.CutPrefix(w, "!"); ok {
			if !slices.Contains(c.GetHeaderMutation().GetRemoveHeaders(), key) {
				return fmt.Errorf("header %s is not removed", key)
			}
			continue
		}
		kv, ok := keyValue(w)
		switch {
		case !ok:
			return fmt.Errorf("%q is neither key=value nor !key", w)
		case kv.Key == "override":
			if got := overrideWord(k.last.GetModeOverride()); got != kv.Value {
				return fmt.Errorf("want mode override %s, got %s", kv.Value, got)
			}
		case !slices.Contains(set.Values(kv.Key), kv.Value):
			return fmt.Errorf("want header %s set to %q, got %q", kv.Key, kv.Value, set.Values(kv.Key))
		}
	}
	return nil
}

// overrideWord writes a mode override as its two body modes.
func overrideWord(m *filterv3.ProcessingMode) string {
	if m == nil {
		return "none"
	}
	return m.GetRequestBodyMode().String() + "/" + m.GetResponseBodyMode().String()
}

func (k *talk) checkImmediate(words []string) error {
	m := k.last.GetImmediateResponse()
	if len(words) == 0 {
		return nil
	}
	if got := strconv.Itoa(int(m.GetStatus().GetCode())); got != words[0] {
		return fmt.Errorf("want immediate %s, got %s: %.200q", words[0], got, m.GetBody())
	}
	set := Headers{}.apply(m.GetHeaders())
	for i := 1; i < len(words); i++ {
		if words[i] == "contains" || words[i] == "details" {
			if i++; i == len(words) {
				return fmt.Errorf("%s needs a text", words[i-1])
			}
			text, err := Content(words[i])
			if err != nil {
				return err
			}
			in := map[string]string{"contains": string(m.GetBody()), "details": m.GetDetails()}[words[i-1]]
			if !strings.Contains(in, string(text)) {
				return fmt.Errorf("want immediate %s %q, got %.200q", words[i-1], text, in)
			}
			continue
		}
		kv, ok := keyValue(words[i])
		if !ok || !slices.Contains(set.Values(kv.Key), kv.Value) {
			return fmt.Errorf("want header %s in the immediate response, got %v", words[i], set)
		}
	}
	return nil
}
