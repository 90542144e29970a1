package icap

import (
	"fmt"
	"strconv"

	"github.com/portcullis-av/portcullis/scan"
)

type method string

const (
	respmod method = "RESPMOD"
	reqmod  method = "REQMOD"
)

// asked is what an answer is judged against.
type asked struct {
	method method
	// requestLine is that of the HTTP message in a REQMOD.
	requestLine string
	// allow204 says that a 204 may come at any time, and preview that one may
	// come as the answer to the preview which is being waited for.
	allow204, preview bool
	// whole says that the server has been sent the whole object when its answer
	// to this part of the exchange is due.
	whole      bool
	size       int64
	sum        [32]byte
	acceptEcho bool
}

// request is everything before the body: the ICAP head and the heads of the
// HTTP message made up for the object.
type request struct {
	head    []byte
	preview int // bytes of the object in the preview; negative: no preview
	asked   asked
}

// request makes the head for one object. The labels of the sender go into it
// only if the file name is wanted, because servers may be set up to skip by
// Content-Type or extension: every object is application/octet-stream.
func (e *Engine) request(s service, o scan.Object) (request, error) {
	name := "object"
	if e.sendFileName {
		name = objectName(o.Name)
	}
	r := request{preview: -1, asked: asked{
		method: s.method, allow204: s.allow204, whole: true,
		size: o.Size, sum: o.Digest(), acceptEcho: e.acceptEcho,
	}}
	r.asked.requestLine = "POST /" + percentEncoded(name) + " HTTP/1.1"
	encapsulated, message := e.message(s.method, r.asked.requestLine, name, o.Size)

	head := fmt.Appendf(nil, "%s %s ICAP/1.0\r\nHost: %s\r\nUser-Agent: Portcullis\r\n", s.method, e.uri, e.address)
	if s.allow204 {
		head = append(head, "Allow: 204\r\n"...)
	}
	if s.preview >= 0 && e.maxPreview > 0 {
		announced := min(s.preview, e.maxPreview)
		head = fmt.Appendf(head, "Preview: %d\r\n", announced)
		r.preview = int(min(int64(announced), o.Size))
		r.asked.preview = true
		r.asked.whole = int64(r.preview) == o.Size
	}
	head, err := e.appendExtra(head)
	if err != nil {
		return request{}, err
	}
	r.head = fmt.Appendf(head, "Encapsulated: %s\r\n\r\n%s", encapsulated, message)
	return r, nil
}

func (e *Engine) appendExtra(head []byte) ([]byte, error) {
	for _, h := range e.extra {
		value, err := h.value()
		if err != nil {
			return nil, err
		}
		head = append(append(head, h.Name...), ": "...)
		head = append(append(head, value...), "\r\n"...)
	}
	return head, nil
}

// message returns the HTTP heads and the Encapsulated list that describes them;
// the offsets are those of the bytes built (RFC 3507 section 4.4.1; c-icap waits
// for ever on wrong ones). Nothing hop-by-hop is ever among them.
func (e *Engine) message(m method, requestLine, name string, size int64) (encapsulated string, message []byte) {
	const host = "\r\nHost: portcullis.invalid\r\n"
	about := "Content-Type: application/octet-stream\r\nContent-Length: " + strconv.FormatInt(size, 10) + "\r\n"
	if m == reqmod {
		message = append(message, requestLine+host+about+"\r\n"...)
		return fmt.Sprintf("req-hdr=0, req-body=%d", len(message)), message
	}
	message = append(message, "GET /"+percentEncoded(name)+" HTTP/1.1"+host+"\r\n"...)
	response := len(message)
	message = append(message, "HTTP/1.1 200 OK\r\n"+about...)
	if e.sendFileName {
		message = append(message, `Content-Disposition: attachment; filename="`+quotable(name)+
			`"; filename*=UTF-8''`+percentEncoded(name)+"\r\n"...)
	}
	message = append(message, "\r\n"...)
	return fmt.Sprintf("req-hdr=0, res-hdr=%d, res-body=%d", response, len(message)), message
}
