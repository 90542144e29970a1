package extproc

import (
	"fmt"
	"io"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/portcullis-av/portcullis/scan"
)

// Codec returns the codec that a server of this door must be made with
// (grpc.ForceServerCodecV2). On the wire it is "proto", for every message of
// every service; only the two kinds of message that carry bodies take a shorter
// way through it: bytes that arrive stay in gRPC's buffers until the spool has
// copied them, and bytes that leave are written where gRPC sends them from.
//
// Why not the stock codec: of 100 MiB through it, more than 40 % of the CPU went
// into gathering each 64 KiB chunk into a buffer of the 1 MiB class and copying
// it out again (profile of a processor that scans nothing).
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2(proto.Name)} }

type codec struct{ stock encoding.CodecV2 }

func (codec) Name() string { return proto.Name }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if chunk, ok := v.(*outChunk); ok {
		return chunk.marshal(), nil
	}
	return c.stock.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*inbound)
	if !ok {
		return c.stock.Unmarshal(data, v)
	}
	if in.readBody(data) {
		return nil
	}
	in.req = &extprocv3.ProcessingRequest{}
	if err := c.stock.Unmarshal(data, in.req); err != nil {
		return err
	}
	in.adopt()
	return nil
}

// inbound is a message from Envoy. isBody says that it is a body message and no
// more; then req is nil.
type inbound struct {
	req    *extprocv3.ProcessingRequest
	isBody bool
	leg    scan.Leg
	data   payload
	end    bool
	// held are the buffers that data lies in, until free.
	held mem.BufferSlice
}

// payload is a run of body bytes in as many pieces as it came in. It is only
// readable until the message it came with is freed.
type payload [][]byte

// size is the number of bytes.
func (p payload) size() int {
	n := 0
	for _, piece := range p {
		n += len(piece)
	}
	return n
}

// free gives the buffers back; data must not be read any more.
func (in *inbound) free() {
	in.held.Free()
	in.held, in.data = nil, nil
}

// adopt takes over what a body message says that came the long way, beside
// other fields; req is kept for those.
func (in *inbound) adopt() {
	var b *extprocv3.HttpBody
	switch m := in.req.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestBody:
		b = m.RequestBody
	case *extprocv3.ProcessingRequest_ResponseBody:
		in.leg, b = scan.Response, m.ResponseBody
	default:
		return
	}
	in.isBody, in.data, in.end = true, payload{b.GetBody()}, b.GetEndOfStream() || b.GetEndOfStreamWithoutMessage()
}

// Field numbers of envoy.service.ext_proc.v3 (external_processor.proto).
const (
	requestBodyIn  = 4 // ProcessingRequest.request_body
	responseBodyIn = 5 // ProcessingRequest.response_body
	httpBodyBody   = 1 // HttpBody.body
	httpBodyEnd    = 2 // HttpBody.end_of_stream
)

// maxBodyHead is the most that can stand before the bytes of a body message: two
// tags of one byte and two lengths.
const maxBodyHead = 2 + 2*10

// noMetadata is what Envoy 1.40 writes behind every body: a metadata_context with
// nothing in it (measured).
const noMetadata = "\x42\x00"

// readBody reads a message that is nothing but a body, in the order in which
// every protobuf library writes its fields. Anything else is left to the stock
// codec, so that this needs to understand only what it can prove.
func (in *inbound) readBody(data mem.BufferSlice) bool {
	total := data.Len()
	var last [len(noMetadata)]byte
	if total > len(last) {
		copyRange(last[:], data, total-len(last))
	}
	return in.readBodyOf(data, total) || string(last[:]) == noMetadata && in.readBodyOf(data, total-len(last))
}

// readBodyOf is readBody for the first total bytes of data.
func (in *inbound) readBodyOf(data mem.BufferSlice, total int) bool {
	var start [maxBodyHead]byte
	head := start[:min(copyFront(start[:], data), total)]

	field, kind, n := protowire.ConsumeTag(head)
	if n != 1 || kind != protowire.BytesType || field != requestBodyIn && field != responseBodyIn {
		return false
	}
	at := n
	length, n := protowire.ConsumeVarint(head[at:])
	if n < 0 || uint64(total-at-n) != length { //nolint:gosec // both are lengths of what is in memory
		return false
	}
	at += n
	bytes, tail, ok := bodyBounds(head, at, total)
	if !ok {
		return false
	}
	end, ok := readTail(data, tail, total)
	if !ok {
		return false
	}
	in.isBody, in.end = true, end
	if field == responseBodyIn {
		in.leg = scan.Response
	}
	in.keep(data, bytes, tail)
	return true
}

// keep refers to the bytes of data from begin to end, and holds their buffers.
func (in *inbound) keep(data mem.BufferSlice, begin, end int) {
	in.data, in.held = make(payload, 0, len(data)), make(mem.BufferSlice, 0, len(data))
	for _, b := range data {
		piece := b.ReadOnlyData()
		size := len(piece)
		if begin < size && end > 0 && begin < end {
			b.Ref()
			in.held = append(in.held, b)
			in.data = append(in.data, piece[max(begin, 0):min(end, size)])
		}
		begin, end = begin-size, end-size
	}
}

// bodyBounds finds where the bytes of an HttpBody begin and end; without any,
// both are where its other fields begin.
func bodyBounds(head []byte, at, total int) (begin, end int, ok bool) {
	if at == total {
		return at, at, true
	}
	field, kind, n := protowire.ConsumeTag(head[at:])
	if n != 1 || kind != protowire.BytesType || field != httpBodyBody {
		return at, at, n == 1
	}
	length, m := protowire.ConsumeVarint(head[at+n:])
	begin = at + n + m
	if m < 0 || length > uint64(total-begin) { //nolint:gosec // as above
		return 0, 0, false
	}
	return begin, begin + int(length), true //nolint:gosec // as above
}

// readTail reads what follows the bytes: nothing, or end_of_stream set to true.
func readTail(data mem.BufferSlice, at, total int) (end, ok bool) {
	if at == total {
		return false, true
	}
	var tail [2]byte
	if total-at != len(tail) {
		return false, false
	}
	copyRange(tail[:], data, at)
	const endTag = httpBodyEnd<<3 | byte(protowire.VarintType)
	return true, tail == [2]byte{endTag, 1}
}

// copyFront fills p from the front of data and returns how much there was.
func copyFront(p []byte, data mem.BufferSlice) int {
	n := 0
	for _, b := range data {
		if n == len(p) {
			break
		}
		n += copy(p[n:], b.ReadOnlyData())
	}
	return n
}

// copyRange fills p from the bytes of data that begin at off; they are there.
func copyRange(p []byte, data mem.BufferSlice, off int) {
	for _, b := range data {
		piece := b.ReadOnlyData()
		if off >= len(piece) {
			off -= len(piece)
			continue
		}
		n := copy(p, piece[off:])
		if p = p[n:]; len(p) == 0 {
			return
		}
		off = 0
	}
}

// receive reads one message with a stream's RecvMsg.
func receive(recv func(any) error) (*inbound, error) {
	in := &inbound{}
	if err := recv(in); err != nil {
		return nil, err
	}
	if in.req == nil && !in.isBody {
		return nil, fmt.Errorf("receive: %w", io.ErrUnexpectedEOF)
	}
	return in, nil
}
