package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"testing"
)

// What README shows of the demo is what the demo prints.
func TestReadmeDemo(t *testing.T) {
	t.Parallel()
	blocks := docBlocks(t, "demo")
	ctx, cancel := context.WithTimeout(t.Context(), 2*exchangeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, needPortcullis(t), "demo", "--once")
	cmd.Env = append(os.Environ(), "ENVOY="+needEnvoy(t))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, b := range blocks {
		if !like(b.text(), string(out)) {
			t.Errorf("%v shows\n%s\nbut the demo prints\n%s", b, b.text(), out)
		}
	}
}
