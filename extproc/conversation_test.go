package extproc_test

import (
	"bufio"
	"bytes"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portcullis-av/portcullis/extproc/extproctest"
)

// Each file in testdata is one conversation: what Envoy says, what must be
// answered. Its section "gate" sets up the policy and the engine.
func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			c, err := extproctest.LoadConversation(file)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				d := newDoor()
				d.setUp(t, c.Sections["gate"])
				c.Run(t, d.serve(t))
			})
		})
	}
}

// setUp reads "name: value" lines.
func (d *door) setUp(t *testing.T, section []byte) {
	t.Helper()
	for lines := bufio.NewScanner(bytes.NewReader(section)); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		p := &d.policy
		switch name {
		case "engine":
			if d.engine = engines[value]; d.engine == nil {
				t.Fatalf("no engine %q", value)
			}
		case "request":
			p.ScanRequest = value == "scan"
		case "response":
			p.ScanResponse = value == "scan"
		case "fail":
			p.FailOpen = value == "open"
		case "unscannable":
			p.PassUnscannable = value == "pass"
		case "enforce":
			p.Enforce = value == "true"
		case "show_threats":
			p.ShowThreats = value == "true"
		case "max_body_bytes":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			p.MaxBodyBytes = n
		case "max_exchange":
			n, err := time.ParseDuration(value)
			if err != nil {
				t.Fatal(err)
			}
			d.config.MaxExchange = n
		default:
			t.Fatalf("section gate: unknown setting %q", name)
		}
	}
}
