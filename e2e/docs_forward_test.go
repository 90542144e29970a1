package e2e_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/portcullis-av/portcullis/e2e/rig"
)

// A reader of the forward proxy's page who types what stands there sees what
// stands there. Only the ports are others.
func TestDocsForwardProxy(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"curl", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, err.Error())
		}
	}
	var script strings.Builder
	script.WriteString("set -eu -o pipefail\n")
	var prints []*block
	for _, b := range docPage(t, "docs/forward-proxy.md").blocks {
		switch b.kind {
		case "shell":
			script.WriteString(b.text() + "echo '" + endOfBlock + "'\n")
		case "prints":
			prints = append(prints, b)
		}
	}
	if len(prints) < 4 {
		t.Fatalf("%d blocks only", len(prints))
	}
	dir := t.TempDir()
	text := script.String()
	for _, port := range []string{"3128", "8000"} {
		free := freePort(t)
		text = strings.ReplaceAll(strings.ReplaceAll(text, "127.0.0.1:"+port, "127.0.0.1:"+free), "server "+port, "server "+free)
		if port == "3128" {
			docsPrograms(t, dir, free)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), exchangeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", text)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "no_proxy=", "NO_PROXY=")
	// What the shell started in the background ends with it, whatever happened.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	// A file rather than a pipe: who is still busy ending would keep a pipe open.
	printed := filepath.Join(dir, "printed")
	file, err := os.Create(printed)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // the shell wrote it
	cmd.Stdout, cmd.Stderr = file, file
	err = cmd.Run()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // nothing is left, if all went well
	out, readErr := os.ReadFile(printed)
	if err != nil || readErr != nil {
		t.Errorf("%v, %v after:\n%s", err, readErr, out)
	}
	wantPrinted(t, prints, out)
}

// docsPrograms puts a portcullis and an envoy into dir/bin that are the real ones
// on other ports.
func docsPrograms(t *testing.T, dir, proxy string) {
	t.Helper()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	processor := "127.0.0.1:" + freePort(t)
	config := filepath.Join(bin, "portcullis.yaml")
	for path, text := range map[string]string{
		config: fmt.Sprintf("listen: {extproc: %q, admin: \"127.0.0.1:%s\"}\n", processor, freePort(t)),
		filepath.Join(bin, "portcullis"): fmt.Sprintf("#!/bin/sh\ncase \"$1\" in\nserve) exec %[1]s \"$@\" --config %[2]s ;;\n"+
			"*) exec %[1]s \"$@\" --processor %[3]s --listen 127.0.0.1:%[4]s ;;\nesac\n", needPortcullis(t), config, processor, proxy),
		filepath.Join(bin, "envoy"): fmt.Sprintf("#!/bin/sh\nexec %s --disable-hot-restart \"$@\"\n", needEnvoy(t)),
	} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	address, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
