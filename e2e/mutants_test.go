package e2e_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is a defect put into an engine: tests must find it.
type mutant struct {
	name, engine string
	file         string // of scan/
	old, new     string
	run          string // tests of the engine
	says         string // in their output
}

func mutants() []mutant {
	return []mutant{
		{
			"sends an empty stream", "clamd", "clamd/stream.go", "\tfor sent < o.Size {",
			"\tif _, err := conn.Write([]byte(command + \"\\x00\\x00\\x00\\x00\")); err == nil {\n\t\treturn 0, nil\n\t}\n\tfor sent < o.Size {",
			"TestConformanceFake", "it said OK after 0 of",
		},
		{
			"sends half", "clamd", "clamd/stream.go", "\tfor sent < o.Size {", "\to.Size -= o.Size / 2\n\tfor sent < o.Size {",
			"TestConformanceFake", "it said OK after",
		},
		{
			"does not count what it sent", "clamd", "clamd/engine.go", "(sendErr != nil || sent != o.Size)", "false",
			"TestEarlyReply|TestDying|TestSizes", "--- FAIL",
		},
		{
			"does not care whether all was sent", "cloudmersive", "cloudmersive/attempt.go", "!up.complete()", "false",
			"TestReplyBeforeBreak|TestSpoolFailureBehindReply|TestFaultsAreNeverClean", "--- FAIL",
		},
		{
			"takes a preview for the whole", "icap", "icap/reply.go", "ans.pass(by204, a.whole)", "ans.pass(by204, true)",
			"TestClean|TestPreview|TestNeighbours", "--- FAIL",
		},
		{
			"believes a verdict on another object", "remote", "remote/reply.go", "r.GetSize() != o.Size || ", "",
			"TestUnproven|TestTruncated|TestMass", "--- FAIL",
		},
	}
}

// What a defect sends or believes too little of is an ERROR by the counters, and
// without the counters tests fail (F-16).
func TestMutants(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := string(bytes.TrimSpace(out))
	for _, m := range mutants() {
		t.Run(m.engine+"/"+m.name, func(t *testing.T) {
			path := filepath.Join(root, "scan", filepath.FromSlash(m.file))
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(string(source), m.old) != 1 {
				t.Fatalf("%s holds %q %d times", m.file, m.old, strings.Count(string(source), m.old))
			}
			dir := t.TempDir()
			spoilt, overlay := filepath.Join(dir, "spoilt.go"), filepath.Join(dir, "overlay.json")
			writeFile(t, spoilt, strings.Replace(string(source), m.old, m.new, 1))
			text, err := json.Marshal(map[string]any{"Replace": map[string]string{path: spoilt}})
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, overlay, string(text))
			cmd := exec.Command("go", "test", "-vet=off", "-overlay", overlay, "-timeout", "2m", "-run", "^("+m.run+")$", "./scan/"+m.engine)
			cmd.Dir = root
			said, err := cmd.CombinedOutput()
			if err == nil || !bytes.Contains(said, []byte("--- FAIL")) || !bytes.Contains(said, []byte(m.says)) {
				t.Errorf("it lives: %v\n%.2000s", err, said)
			}
			faultRows.add("F-16", m.name, m.engine, "-", marked(t, "found by its tests: "+m.says))
		})
	}
}
