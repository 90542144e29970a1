package cloudmersive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"sync"

	"github.com/portcullis-av/portcullis/scan"
)

var errUploadClosed = errors.New("the upload has ended")

// upload is one object as the multipart form the service takes, streamed from
// the object's content.
//
// The transport may go on reading a request body after it has returned the
// response, but an object must not be touched once Scan has returned. So all
// readers are under one lock, and after close they only fail.
type upload struct {
	object         scan.Object
	contentType    string
	before, behind []byte // what the form has around the content

	mu     sync.Mutex
	latest *uploadReader
	closed bool
	failed error
}

// newUpload names the part's file if fileName is not empty; it must be safe.
func newUpload(o scan.Object, fileName string) (*upload, error) {
	disposition := `form-data; name="inputFile"`
	if fileName != "" {
		disposition += `; filename="` + fileName + `"`
	}
	var form bytes.Buffer
	// The boundary is random (crypto/rand, 240 bits): whoever could foresee it
	// could end the part early and hide the rest of the object.
	w := multipart.NewWriter(&form)
	_, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {disposition},
		"Content-Type":        {"application/octet-stream"},
	})
	if err != nil {
		return nil, &scan.Error{Kind: scan.KindInternal, Op: "build the upload", Err: err}
	}
	head := form.Len()
	if err := w.Close(); err != nil {
		return nil, &scan.Error{Kind: scan.KindInternal, Op: "build the upload", Err: err}
	}
	return &upload{
		object:      o,
		contentType: w.FormDataContentType(),
		before:      form.Bytes()[:head:head],
		behind:      form.Bytes()[head:],
	}, nil
}

func (u *upload) size() int64 {
	return int64(len(u.before)) + u.object.Size + int64(len(u.behind))
}

// open returns a reader from the start. The transport asks for another one when
// it has to send the request again on a new connection.
func (u *upload) open() io.ReadCloser {
	u.mu.Lock()
	defer u.mu.Unlock()
	content := &contentReader{content: u.object.Reader(), left: u.object.Size}
	u.latest = &uploadReader{
		upload: u,
		form:   io.MultiReader(bytes.NewReader(u.before), content, bytes.NewReader(u.behind)),
	}
	return u.latest
}

// close returns when no reader touches the object any more, nor ever will.
func (u *upload) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
}

// err is the failure to read the object, if there was one; always a *scan.Error.
func (u *upload) err() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failed
}

// complete reports whether every byte was handed to the transport.
func (u *upload) complete() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failed == nil && u.latest != nil && u.latest.read == u.size()
}

type uploadReader struct {
	upload *upload
	form   io.Reader
	read   int64
	closed bool
}

func (r *uploadReader) Read(p []byte) (int, error) {
	r.upload.mu.Lock()
	defer r.upload.mu.Unlock()
	if r.closed || r.upload.closed {
		return 0, errUploadClosed
	}
	n, err := r.form.Read(p)
	r.read += int64(n)
	if err != nil && err != io.EOF && r.upload.failed == nil {
		r.upload.failed = err
	}
	return n, err
}

func (r *uploadReader) Close() error {
	r.upload.mu.Lock()
	defer r.upload.mu.Unlock()
	r.closed = true
	return nil
}

// contentReader turns every failure to read, and an end before the stated size,
// into a *scan.Error, so that our own disk is not taken for the service's fault.
type contentReader struct {
	content io.Reader
	left    int64
}

func (r *contentReader) Read(p []byte) (int, error) {
	n, err := r.content.Read(p)
	r.left -= int64(n)
	if err == nil {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		if r.left == 0 {
			return n, io.EOF
		}
		err = fmt.Errorf("%d bytes are missing: %w", r.left, io.ErrUnexpectedEOF)
	}
	if _, known := errors.AsType[*scan.Error](err); known {
		return n, err
	}
	return n, &scan.Error{Kind: scan.KindSpool, Op: "read the object", Err: err}
}
