package extproctest

import (
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
)

// What load reads of an answer is all of it but the dynamic metadata, wherever
// they stand and however often.
func TestLean(t *testing.T) {
	answer := &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestHeaders{
		RequestHeaders: &extprocv3.HeadersResponse{Response: &extprocv3.CommonResponse{ClearRouteCache: true}},
	}}
	fields, err := structpb.NewStruct(map[string]any{"portcullis": "said"})
	if err != nil {
		t.Fatal(err)
	}
	bare, err := proto.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	said, err := proto.Marshal(&extprocv3.ProcessingResponse{DynamicMetadata: fields})
	if err != nil {
		t.Fatal(err)
	}
	for name, wire := range map[string][]byte{
		"none": bare, "first": append(append([]byte{}, said...), bare...),
		"twice": append(append(append([]byte{}, said...), bare...), said...),
	} {
		var got extprocv3.ProcessingResponse
		if err := newLean().Unmarshal(mem.BufferSlice{mem.SliceBuffer(wire)}, &got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(answer, &got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
	if err := newLean().Unmarshal(mem.BufferSlice{mem.SliceBuffer(append(said, 0xff))}, &extprocv3.ProcessingResponse{}); err == nil {
		t.Error("half a field is no message, but it was read")
	}
}
