package extproctest

import (
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// dynamicMetadata is the field ProcessingResponse.dynamic_metadata.
const dynamicMetadata = 8

// lean is the stock codec, but for the dynamic metadata of answers, which it
// leaves out. Go takes ten times as long to read them as all the rest of an
// answer to headers (benchmark), Envoy does not: under load that would be
// measured as the processor's.
type lean struct{ encoding.CodecV2 }

func newLean() lean { return lean{encoding.GetCodecV2(proto.Name)} }

func (c lean) Unmarshal(data mem.BufferSlice, v any) error {
	if _, ok := v.(*extprocv3.ProcessingResponse); !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	return c.CodecV2.Unmarshal(mem.BufferSlice{mem.SliceBuffer(withoutMetadata(whole.ReadOnlyData()))}, v)
}

// withoutMetadata is message without that field. What is no message stays as it
// is, for the stock codec to complain about.
func withoutMetadata(message []byte) []byte {
	for at := 0; at < len(message); {
		field, _, n := protowire.ConsumeField(message[at:])
		if n < 0 {
			return message
		}
		if field == dynamicMetadata {
			rest := append(make([]byte, 0, len(message)-n), message[:at]...)
			return withoutMetadata(append(rest, message[at+n:]...))
		}
		at += n
	}
	return message
}
