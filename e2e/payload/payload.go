package payload

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	"github.com/portcullis-av/portcullis/e2e/tap"
)

// Body is a body that can be read any number of times. The zero value is empty.
type Body struct {
	// ContentType is what a sender would call it.
	ContentType string

	size int64
	open func() io.Reader
}

// Size is the number of bytes.
func (b Body) Size() int64 { return b.size }

// Reader reads the body from its start.
func (b Body) Reader() io.Reader {
	if b.open == nil {
		return bytes.NewReader(nil)
	}
	return b.open()
}

// SHA256 reads the whole body.
func (b Body) SHA256() [sha256.Size]byte {
	h := sha256.New()
	_, _ = io.Copy(h, b.Reader()) // neither side can fail
	return [sha256.Size]byte(h.Sum(nil))
}

// Bytes is a body of exactly p, which must not change afterwards.
func Bytes(p []byte) Body {
	return Body{
		ContentType: "application/octet-stream",
		size:        int64(len(p)),
		open:        func() io.Reader { return bytes.NewReader(p) },
	}
}

// Random is size bytes that no coding shortens; the same seed gives the same bytes.
func Random(seed uint64, size int64) Body {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return Body{
		ContentType: "application/octet-stream",
		size:        size,
		open:        func() io.Reader { return io.LimitReader(rand.NewChaCha8(key), size) },
	}
}

// EICAR is the 68-byte industry test file that every engine calls infected. It
// is put together here so that no file of this repository holds it.
func EICAR() []byte {
	return []byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-` + `STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`)
}

// Canaries is at least size bytes of nothing but the canary of id, to be put
// around what is infected.
func Canaries(id string, size int) []byte {
	line := tap.Canary(id)
	return []byte(strings.Repeat(line, (size+len(line)-1)/len(line)))
}

// Part is one part of a form.
type Part struct {
	Field    string
	FileName string // none: a plain field
	Content  Body
}

const boundary = "e2e-boundary-5f0e7c"

// Form is a multipart/form-data body as browsers send it.
func Form(parts ...Part) Body {
	var pieces []Body
	for _, p := range parts {
		var head strings.Builder
		fmt.Fprintf(&head, "--%s\r\nContent-Disposition: form-data; name=%q", boundary, p.Field)
		if p.FileName != "" {
			fmt.Fprintf(&head, "; filename=%q\r\nContent-Type: application/octet-stream", p.FileName)
		}
		head.WriteString("\r\n\r\n")
		pieces = append(pieces, Bytes([]byte(head.String())), p.Content, Bytes([]byte("\r\n")))
	}
	pieces = append(pieces, Bytes([]byte("--"+boundary+"--\r\n")))
	form := Concat(pieces...)
	form.ContentType = "multipart/form-data; boundary=" + boundary
	return form
}

// InfectedForm is a form with EICAR as a file, between two files that hold only
// the canary of id; around is the size of each of them in bytes.
func InfectedForm(id string, around int) Body {
	filler := Bytes(Canaries(id, around))
	return Form(
		Part{Field: "before", FileName: "before.txt", Content: filler},
		Part{Field: "upload", FileName: "holiday.jpg", Content: Bytes(EICAR())},
		Part{Field: "after", FileName: "after.txt", Content: filler},
	)
}

// Concat is all bodies in a row.
func Concat(bodies ...Body) Body {
	all := Body{ContentType: "application/octet-stream"}
	for _, b := range bodies {
		all.size += b.size
	}
	all.open = func() io.Reader {
		readers := make([]io.Reader, len(bodies))
		for i, b := range bodies {
			readers[i] = b.Reader()
		}
		return io.MultiReader(readers...)
	}
	return all
}
