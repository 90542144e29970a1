package extproc_test

import (
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/portcullis-av/portcullis/extproc/extproctest"
)

// A message that is too large for the server fails closed, and the log says which
// setting is in its way.
func TestMessageAboveTheLimit(t *testing.T) {
	d := newDoor()
	said := make(lines, 8)
	d.log = slog.New(slog.NewTextHandler(said, nil))
	c := profile("buffered")
	c.BufferLimit = 80 << 20
	res := extproctest.New(d.serve(t), c).Do(t.Context(), extproctest.Exchange{
		Request: extproctest.Message{Body: extproctest.Cut(make([]byte, 65<<20), 1<<20)},
	})
	if res.Client.Status != 500 || res.Origin.Size != 0 {
		t.Errorf("the client saw %s; %d bytes went on", res.Client, res.Origin.Size)
	}
	if status.Code(res.Stream) != codes.ResourceExhausted {
		t.Errorf("the stream ended with %v", res.Stream)
	}
	<-d.records
	if line := <-said; !strings.Contains(line, "limits.max_receive_message_bytes") {
		t.Errorf("logged: %s", line)
	}
}

// lines is a log of which each line can be waited for.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}
