package extproc_test

import (
	"testing"
	"testing/synctest"
	"time"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// An Envoy that takes no answers is given up, and what was for it is given back.
func TestAnswersThatNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		d.config.SendTimeout = 20 * time.Second
		stream := untaken(t, d.serve(t))
		start := time.Now()
		r := <-d.records
		if took := time.Since(start); took != 20*time.Second || r.End != "expired" {
			t.Errorf("it ended after %v: %s", took, r.End)
		}
		var err error
		for err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("the stream ended with %v", err)
		}
		synctest.Wait()
		if u := d.pool.Usage(); u.Bodies != 0 || u.Memory != 0 {
			t.Errorf("still held: %+v", u)
		}
	})
}

// untaken is a clean upload of 4 MiB to which nobody takes the answers.
func untaken(t *testing.T, conn grpc.ClientConnInterface) extprocv3.ExternalProcessor_ProcessClient {
	t.Helper()
	stream, err := extprocv3.NewExternalProcessorClient(conn).Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const duplex = filterv3.ProcessingMode_FULL_DUPLEX_STREAMED
	say := func(m *extprocv3.ProcessingRequest) {
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	say(&extprocv3.ProcessingRequest{
		ProtocolConfig: &extprocv3.ProtocolConfiguration{RequestBodyMode: duplex, ResponseBodyMode: duplex},
		Request:        &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{}},
	})
	for i := range 64 {
		say(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{
			RequestBody: &extprocv3.HttpBody{Body: make([]byte, 64<<10), EndOfStream: i == 63},
		}})
	}
	return stream
}
