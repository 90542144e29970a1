package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/portcullis-av/portcullis/e2e/rig"
)

// needGrpcurl has the Makefile install grpcurl, as the README's reader does. The
// first time it is compiled, which takes a while.
func needGrpcurl(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "make", "-s", "grpcurl")
	cmd.Dir = repository
	if out, err := cmd.CombinedOutput(); err != nil {
		missing(t, fmt.Sprintf("make grpcurl: %v\n%s", err, out))
	}
}

// What README types by hand prints what README shows: all shell blocks in one
// shell, one after another, against a gate with the default configuration.
func TestReadmeByHand(t *testing.T) {
	t.Parallel()
	needGrpcurl(t)
	shells, prints := readmeShells(t)
	p := startPortcullis(t, rig.PortcullisOptions{})
	awaitServing(t, p.ExtProc)
	script := "set -eu -o pipefail\n"
	for _, b := range shells {
		script += b.text() + "echo '" + endOfBlock + "'\n"
	}
	script = strings.ReplaceAll(script, "127.0.0.1:9100", p.ExtProc)
	ctx, cancel := context.WithTimeout(t.Context(), 2*exchangeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	top, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	cmd.Dir, cmd.Stderr = top, &complaints
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), "MAKEFLAGS=")
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%v\n%s\nafter:\n%s", err, complaints.Bytes(), out)
	}
	wantPrinted(t, prints, out)
}

// awaitServing waits until gRPC health says of Envoy's service what /readyz has
// said; it follows within a second.
func awaitServing(t *testing.T, address string) {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	watch, err := healthv1.NewHealthClient(conn).Watch(ctx, &healthv1.HealthCheckRequest{Service: "envoy.service.ext_proc.v3.ExternalProcessor"})
	if err != nil {
		t.Fatal(err)
	}
	for {
		r, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if r.GetStatus() == healthv1.HealthCheckResponse_SERVING {
			return
		}
	}
}

// readmeShells are README's shell blocks, and after each what it prints.
func readmeShells(t *testing.T) (shells, prints []*block) {
	t.Helper()
	want := "shell"
	for _, b := range docPage(t, "README.md").blocks {
		if b.kind != "shell" && b.kind != "prints" {
			continue
		}
		if b.kind != want {
			t.Fatalf("%v: a shell block and what it prints must alternate", b)
		}
		if b.kind == "shell" {
			shells, want = append(shells, b), "prints"
		} else {
			prints, want = append(prints, b), "shell"
		}
	}
	if len(shells) < 6 || len(shells) != len(prints) {
		t.Fatalf("%d shell blocks, %d outputs", len(shells), len(prints))
	}
	return shells, prints
}
