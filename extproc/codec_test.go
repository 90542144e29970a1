package extproc

import (
	"bytes"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/portcullis-av/portcullis/scan"
)

// cut makes the buffers in which a message arrives.
func cut(b []byte, size int) mem.BufferSlice {
	var s mem.BufferSlice
	for len(b) > size {
		s, b = append(s, mem.SliceBuffer(b[:size])), b[size:]
	}
	return append(s, mem.SliceBuffer(b))
}

func requests() []*extprocv3.ProcessingRequest {
	body := func(b []byte, end bool) *extprocv3.HttpBody { return &extprocv3.HttpBody{Body: b, EndOfStream: end} }
	long := bytes.Repeat([]byte("body "), 20_000)
	return []*extprocv3.ProcessingRequest{
		{Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: body([]byte("abc"), false)}},
		{Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: body(long, true)}},
		{Request: &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: body(nil, true)}},
		{Request: &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: body(nil, false)}},
		{Request: &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: &extprocv3.HttpBody{Body: []byte("x"), DrainComplete: true}}},
		{Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: body(long, true)}, ObservabilityMode: true},
		{Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{EndOfStream: true}}},
		{},
	}
}

// Body messages take the short way, whatever the buffers; the rest the long way,
// and all of them mean the same on both.
func TestCodecReads(t *testing.T) {
	for i, m := range requests() {
		wire, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		// As Envoy 1.40 really writes it; Go would put metadata_context in front.
		fromEnvoy := append(bytes.Clone(wire), 0x42, 0)
		for _, size := range []int{1, 3, 7, 16 << 10, 1 << 20} {
			compareCodecs(t, wire, size)
			compareCodecs(t, fromEnvoy, size)
		}
		var ours inbound
		if got, want := ours.readBody(cut(fromEnvoy, 16<<10)), i < 4; got != want {
			t.Errorf("message %d from Envoy took the short way: %v", i, got)
		}
		var in inbound
		if got, want := in.readBody(cut(wire, 16<<10)), i < 4; got != want {
			t.Errorf("message %d took the short way: %v", i, got)
		}
	}
}

// FuzzCodecReads: no bytes mean something else to us than to the stock codec.
func FuzzCodecReads(f *testing.F) {
	for _, m := range requests() {
		wire, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire, 16<<10)
		f.Add(append(wire, 0x42, 0), 3)
	}
	f.Fuzz(func(t *testing.T, wire []byte, size int) {
		if size > 0 {
			compareCodecs(t, wire, size)
		}
	})
}

func compareCodecs(t *testing.T, wire []byte, size int) {
	t.Helper()
	var want extprocv3.ProcessingRequest
	stockErr := proto.Unmarshal(wire, &want)
	var in inbound
	err := Codec().Unmarshal(cut(wire, size), &in)
	if (err == nil) != (stockErr == nil) {
		t.Fatalf("%x: the stock codec says %v, ours %v", wire, stockErr, err)
	}
	if err != nil {
		return
	}
	leg, body := scan.Request, want.GetRequestBody()
	if m, ok := want.GetRequest().(*extprocv3.ProcessingRequest_ResponseBody); ok {
		leg, body = scan.Response, m.ResponseBody
	}
	if in.isBody != (body != nil) {
		t.Fatalf("%x: body message %v, want %v", wire, in.isBody, body != nil)
	}
	if body != nil && (in.leg != leg || !bytes.Equal(bytes.Join(in.data, nil), body.GetBody()) ||
		in.end != (body.GetEndOfStream() || body.GetEndOfStreamWithoutMessage())) {
		t.Fatalf("%x: %s %q end=%v, want %s %v", wire, in.leg, bytes.Join(in.data, nil), in.end, leg, body)
	}
	if in.req != nil {
		if diff := cmp.Diff(&want, in.req, protocmp.Transform()); diff != "" {
			t.Fatalf("%x (-want +got):\n%s", wire, diff)
		}
	} else if !onlyBody(&want) {
		t.Fatalf("%x took the short way and says more than a body", wire)
	}
}

// onlyBody reports whether a message says nothing beside body and end.
func onlyBody(m *extprocv3.ProcessingRequest) bool {
	plain := func(b *extprocv3.HttpBody) *extprocv3.HttpBody {
		return &extprocv3.HttpBody{Body: b.GetBody(), EndOfStream: b.GetEndOfStream()}
	}
	want := &extprocv3.ProcessingRequest{MetadataContext: m.GetMetadataContext()}
	switch r := m.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestBody:
		want.Request = &extprocv3.ProcessingRequest_RequestBody{RequestBody: plain(r.RequestBody)}
	case *extprocv3.ProcessingRequest_ResponseBody:
		want.Request = &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: plain(r.ResponseBody)}
	}
	return proto.Equal(m, want) && proto.Size(m.GetMetadataContext()) == 0
}

// What we write is what the stock codec would read from any server.
func TestCodecWrites(t *testing.T) {
	for _, size := range []int{0, 1, 100, 127, 128, 16383, 16384, maxChunk} {
		for _, end := range []bool{false, true} {
			for _, l := range []scan.Leg{scan.Request, scan.Response} {
				compareChunk(t, l, bytes.Repeat([]byte{7}, size), end)
			}
		}
	}
}

func compareChunk(t *testing.T, l scan.Leg, body []byte, end bool) {
	t.Helper()
	c := newChunk(l, len(body))
	copy(c.bytes(), body)
	c.end = end
	data, err := Codec().Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var got extprocv3.ProcessingResponse
	if err := proto.Unmarshal(data.Materialize(), &got); err != nil {
		t.Fatal(err)
	}
	data.Free()
	b := &extprocv3.BodyResponse{Response: &extprocv3.CommonResponse{BodyMutation: &extprocv3.BodyMutation{
		Mutation: &extprocv3.BodyMutation_StreamedResponse{
			StreamedResponse: &extprocv3.StreamedBodyResponse{Body: body, EndOfStream: end},
		},
	}}}
	want := &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestBody{RequestBody: b}}
	if l == scan.Response {
		want = &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: b}}
	}
	if diff := cmp.Diff(want, &got, protocmp.Transform()); diff != "" {
		t.Errorf("%d bytes (-want +got):\n%s", len(body), diff)
	}
}

// FuzzCodecWrites: any chunk reads back as itself.
func FuzzCodecWrites(f *testing.F) {
	f.Add([]byte("abc"), true, true)
	f.Fuzz(func(t *testing.T, body []byte, response, end bool) {
		if len(body) > maxChunk {
			return
		}
		l := scan.Request
		if response {
			l = scan.Response
		}
		compareChunk(t, l, body, end)
	})
}

func BenchmarkCodecReads64KiB(b *testing.B) {
	wire, err := proto.Marshal(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{
		RequestBody: &extprocv3.HttpBody{Body: make([]byte, 64<<10)},
	}})
	if err != nil {
		b.Fatal(err)
	}
	data := cut(wire, 16<<10)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(64 << 10)
		for b.Loop() {
			var in inbound
			if err := Codec().Unmarshal(data, &in); err != nil {
				b.Fatal(err)
			}
			in.free()
		}
	})
	b.Run("stock", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(64 << 10)
		for b.Loop() {
			var in extprocv3.ProcessingRequest
			if err := Codec().Unmarshal(data, &in); err != nil {
				b.Fatal(err)
			}
		}
	})
}
