package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

const (
	// chunkSize is well under the 1 MiB that a message may carry.
	chunkSize = 256 << 10
	// maxLabel is ScanService's bound for each of its texts.
	maxLabel = 1024
)

// Engine is one instance of another Portcullis.
type Engine struct {
	conn   *grpc.ClientConn
	client scanv1.ScanServiceClient
	policy string
}

var (
	_ scan.Engine = (*Engine)(nil)
	_ scan.Signer = (*Engine)(nil)
)

// Close gives the connection back. Scans under way fail, and so do later ones.
func (e *Engine) Close() error { return e.conn.Close() }

// Scan has the object scanned by the far side. CLEAN means that it answered
// CLEAN, cause "scanned", for o.Size bytes of the digest o.SHA256, and named no
// threat. A far outcome ERROR is an error here, whatever the far policy would do.
//
// The only bound in time is ctx. Errors are [*scan.Error]:
//   - KindUnreachable: no connection, it broke before the answer, or the far
//     side's own engines are unreachable or it is shutting down.
//   - KindOverload: no room or slot there.
//   - KindRefused: our certificate, the policy's name, or a far engine's key or
//     plan; or the object has come through 3 services already (see [maxHops]).
//   - KindProtocol: an answer that proves nothing, a call that failed by a defect there.
//   - KindSpool: the content could not be read whole here, unless the reader's
//     own error carries a kind; or could not be kept there.
//   - KindTimeout: ctx ended, or the far side's own time was over.
//   - KindCanceled: ctx ended.
//   - KindInternal: an empty object; or the far outcome is ERROR by a defect there.
func (e *Engine) Scan(ctx context.Context, o scan.Object) (scan.Verdict, error) {
	if o.Size <= 0 {
		return scan.Verdict{}, &scan.Error{Kind: scan.KindInternal, Op: op, Err: fmt.Errorf("object of %d bytes", o.Size)}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream, however far it has come
	hopped, err := hop(ctx)
	if err != nil {
		return scan.Verdict{}, err
	}
	stream, err := e.client.Scan(hopped)
	if err != nil {
		return scan.Verdict{}, failure(ctx, err)
	}
	if err := e.send(stream, o); err != nil {
		return scan.Verdict{}, failure(ctx, err)
	}
	reply, err := stream.CloseAndRecv()
	if err != nil {
		return scan.Verdict{}, failure(ctx, err)
	}
	return judge(reply, o)
}

const op = "scan with the remote service"

// send streams the object. It stops without an error when the far side has
// answered or failed already: receiving tells which.
func (e *Engine) send(stream grpc.ClientStreamingClient[scanv1.ScanRequest, scanv1.ScanResponse], o scan.Object) error {
	options := &scanv1.ScanOptions{Policy: e.policy, FileName: label(o.Name), ContentType: label(o.ContentType)}
	for off := int64(0); off < o.Size; {
		// A new one each time: gRPC may use a message after it was sent.
		chunk := make([]byte, min(chunkSize, o.Size-off))
		if err := readFull(o.Content, chunk, off); err != nil {
			return err
		}
		err := stream.Send(&scanv1.ScanRequest{Options: options, Chunk: chunk})
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		off += int64(len(chunk))
		options = nil
	}
	return nil
}

// label is a text of the sender as ScanService takes it: UTF-8 and bounded. One
// that is longer is dropped rather than cut, which could change what it says; a
// label only ever adds checks, and the near side has made them.
func label(s string) string {
	if len(s) > maxLabel {
		return ""
	}
	if s = strings.ToValidUTF8(s, "?"); len(s) > maxLabel {
		return ""
	}
	return s
}

// readFull fills p from off. io.EOF beside a full p is no error; content that
// ends early is one.
func readFull(content io.ReaderAt, p []byte, off int64) error {
	n, err := content.ReadAt(p, off)
	if n == len(p) && (err == nil || errors.Is(err, io.EOF)) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	kind := scan.KindOf(err)
	if kind == scan.KindInternal {
		kind = scan.KindSpool // a reader's error without a kind of its own
	}
	return &scan.Error{Kind: kind, Op: "read the object to scan", Err: err}
}
