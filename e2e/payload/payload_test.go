package payload_test

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"testing"

	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/tap"
)

// A random body has the size it says and is the same each time it is read.
func TestRandomRepeats(t *testing.T) {
	for _, size := range []int64{0, 1, 10 << 10, 1<<20 + 7} {
		b := payload.Random(7, size)
		first, err := io.ReadAll(b.Reader())
		if err != nil || int64(len(first)) != size || b.Size() != size {
			t.Fatalf("%d bytes, says %d, want %d, error %v", len(first), b.Size(), size, err)
		}
		if b.SHA256() != payload.Bytes(first).SHA256() {
			t.Errorf("size %d: a second reading differs", size)
		}
	}
	if payload.Random(1, 64).SHA256() == payload.Random(2, 64).SHA256() {
		t.Error("two seeds give the same bytes")
	}
}

// Nobody but us wrote the form's bytes; the standard library must read EICAR out of it.
func TestInfectedFormHoldsEICAR(t *testing.T) {
	id := "0123456789abcdef"
	form := payload.InfectedForm(id, 100)
	_, params, err := mime.ParseMediaType(form.ContentType)
	if err != nil {
		t.Fatal(err)
	}
	r := multipart.NewReader(form.Reader(), params["boundary"])
	var contents [][]byte
	for {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(part)
		if err != nil || part.FileName() == "" {
			t.Fatalf("file %q, error %v", part.FileName(), err)
		}
		contents = append(contents, content)
	}
	if len(contents) != 3 || len(payload.EICAR()) != 68 || !bytes.Equal(contents[1], payload.EICAR()) {
		t.Fatalf("%d parts, the second has %d bytes", len(contents), len(contents[1]))
	}
	if n := bytes.Count(contents[0], []byte(tap.Canary(id))); n != 5 {
		t.Errorf("the first part holds %d canaries, want 5", n)
	}
}
