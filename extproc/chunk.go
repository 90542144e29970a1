package extproc

import (
	"sync"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/portcullis-av/portcullis/scan"
)

// maxChunk is the largest chunk sent to Envoy in FULL_DUPLEX, as its API asks.
const maxChunk = 64 << 10

const (
	chunkHead = 48 // room for the tags and lengths before the bytes; see marshal
	chunkTail = 2  // end_of_stream
)

// outChunk is a ProcessingResponse with a streamed body chunk, in the form in
// which it goes onto the wire: its bytes are written where gRPC sends them from.
// Sending it gives it away.
type outChunk struct {
	leg    scan.Leg
	end    bool
	length int
	wire   []byte // what of space is the message, once marshalled
	space  [chunkHead + maxChunk + chunkTail]byte
}

// chunks keeps outChunks for reuse; gRPC gives each back when it is on its way.
//
//nolint:gochecknoglobals // a pool is shared by nature
var chunks = sync.Pool{New: func() any { return new(outChunk) }}

// newChunk returns a chunk of n bytes, at most maxChunk, to be filled by the caller.
func newChunk(l scan.Leg, n int) *outChunk {
	c := chunks.Get().(*outChunk) //nolint:forcetypeassert // the pool holds nothing else
	c.leg, c.end, c.length = l, false, n
	return c
}

// bytes is where the chunk's bytes go.
func (c *outChunk) bytes() []byte { return c.space[chunkHead : chunkHead+c.length] }

// Field numbers of envoy.service.ext_proc.v3, from the outside in.
const (
	requestBodyOut   = 3 // ProcessingResponse.request_body
	responseBodyOut  = 4 // ProcessingResponse.response_body
	bodyResponse     = 1 // BodyResponse.response
	commonMutation   = 3 // CommonResponse.body_mutation
	mutationStreamed = 3 // BodyMutation.streamed_response
	streamedBody     = 1 // StreamedBodyResponse.body
	streamedEnd      = 2 // StreamedBodyResponse.end_of_stream
)

// marshal writes the message around the bytes, from the inside out: five nested
// messages, each a tag of one byte and a length of at most three.
func (c *outChunk) marshal() mem.BufferSlice {
	at, end := chunkHead, chunkHead+c.length
	if c.end {
		c.space[end], c.space[end+1] = streamedEnd<<3|byte(protowire.VarintType), 1
		end += chunkTail
	}
	if c.length > 0 {
		at = c.wrap(at, c.length, streamedBody)
	}
	outer := requestBodyOut
	if c.leg == scan.Response {
		outer = responseBodyOut
	}
	for _, field := range [...]int{mutationStreamed, commonMutation, bodyResponse, outer} {
		at = c.wrap(at, end-at, field)
	}
	c.wire = c.space[at:end]
	if mem.IsBelowBufferPoolingThreshold(cap(c.wire)) {
		return mem.BufferSlice{mem.SliceBuffer(c.wire)} // never: the space is larger
	}
	return mem.BufferSlice{mem.NewBuffer(&c.wire, c)}
}

// wrap writes a tag and a length before at and returns where they begin.
func (c *outChunk) wrap(at, length, field int) int {
	n := protowire.SizeVarint(uint64(length)) //nolint:gosec // at most maxChunk and a little
	at -= n + 1
	b := protowire.AppendTag(c.space[at:at], protowire.Number(field), protowire.BytesType) //nolint:gosec // the constants above
	protowire.AppendVarint(b, uint64(length))                                              //nolint:gosec // as above
	return at
}

var _ mem.BufferPool = (*outChunk)(nil)

// Get is never called: a chunk is no source of buffers.
func (c *outChunk) Get(length int) *[]byte {
	b := make([]byte, length)
	return &b
}

// Put takes the chunk's own bytes back, when gRPC has written them.
func (c *outChunk) Put(*[]byte) { chunks.Put(c) }
