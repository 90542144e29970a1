package e2e_test

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/e2e/wrap"
	"github.com/portcullis-av/portcullis/scan"
)

// parserTime is for how long TestParsers runs, and parserSeed where it begins:
// make fuzz-parsers sets them.
const (
	parserTime = "PORTCULLIS_PARSER_TIME"
	parserSeed = "PORTCULLIS_PARSER_SEED"
)

// worker is a process of another language that holds its parsers.
type worker struct {
	name string
	in   io.WriteCloser
	out  *bufio.Scanner
}

// job is one line to a worker.
type job struct {
	Kind string `json:"kind"`
	Type string `json:"type"`
	Body string `json:"body"`
	Want string `json:"want"`
}

func cacheDir() string {
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "portcullis")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".cache", "portcullis")
}

// startWorker runs a worker until the test ends.
func startWorker(t *testing.T, name string, env []string, command ...string) *worker {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr, cmd.Env = &stderr, append(os.Environ(), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		missing(t, fmt.Sprintf("%s does not start: %v", name, err))
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil && !t.Failed() && t.Context().Err() == nil {
			t.Logf("%s ended with %v: %s", name, err, stderr.Bytes())
		}
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("%s says: %.2000s", name, stderr.Bytes())
		}
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	return &worker{name: name, in: in, out: lines}
}

// startWorkers starts one of each language, or skips when their parsers are not
// installed.
func startWorkers(t *testing.T) []*worker {
	t.Helper()
	python, node := filepath.Join(cacheDir(), "parsers-py"), filepath.Join(cacheDir(), "parsers-node")
	for _, dir := range []string{filepath.Join(python, ".installed"), filepath.Join(node, ".installed")} {
		if _, err := os.Stat(dir); err != nil {
			missing(t, "the parsers of other languages are not installed")
		}
	}
	return []*worker{
		startWorker(t, "python", nil, filepath.Join(python, "bin", "python"), filepath.Join("parsers", "worker.py")),
		startWorker(t, "node", []string{"PARSERS_DIR=" + node}, "node", filepath.Join("parsers", "worker.mjs")),
	}
}

// answer returns the names of the parsers that find the file in the body of the
// line that was written last.
func (w *worker) answer() ([]string, error) {
	if !w.out.Scan() {
		return nil, errors.Join(io.ErrUnexpectedEOF, w.out.Err())
	}
	var answer struct{ Found []string }
	if err := json.Unmarshal(w.out.Bytes(), &answer); err != nil {
		return nil, err
	}
	for i := range answer.Found {
		answer.Found[i] = w.name + " " + answer.Found[i]
	}
	return answer.Found, nil
}

// parserTally counts what became of the mutants of one kind.
type parserTally struct{ inputs, extracted, passed int }

// parserRace sends mutants to the gate and to all parsers.
type parserRace struct {
	gate *bareGate
	mu   sync.Mutex
	sums map[string]*parserTally
}

// There is no body from which a parser of another program (Go's, Python's, Node's)
// extracts a known file although the gate lets it pass. The bodies are forms,
// archives, JSON and compressed data that random edits have damaged.
func TestParsers(t *testing.T) {
	t.Parallel()
	length, seed := 8*time.Second, uint64(1)
	if v := os.Getenv(parserTime); v != "" {
		var err error
		if length, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	if v := os.Getenv(parserSeed); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	race := &parserRace{gate: newBareGate(t), sums: map[string]*parserTally{}}
	for _, k := range wrap.Kinds() {
		race.sums[k] = &parserTally{}
	}
	end := time.Now().Add(length)
	var group sync.WaitGroup
	for i := range uint64(2) {
		workers := startWorkers(t)
		group.Go(func() { race.run(t, rand.New(rand.NewPCG(seed, i)), workers, end) })
	}
	group.Wait()
	for _, k := range wrap.Kinds() {
		s := race.sums[k]
		t.Logf("%-10s %7d bodies, the file extracted from %7d by some parser, %7d passed the gate", k, s.inputs, s.extracted, s.passed)
		if s.inputs < 20 || s.extracted == 0 || s.passed == 0 {
			t.Errorf("%s: %+v proves little", k, *s)
		}
	}
}

func (race *parserRace) run(t *testing.T, r *rand.Rand, workers []*worker, end time.Time) {
	known, clean := wrap.Tiny(knownFile), wrap.Tiny(cleanFile)
	sum := sha256.Sum256(known)
	want := hex.EncodeToString(sum[:])
	for n := 0; time.Now().Before(end) && !t.Failed(); n++ {
		kind := wrap.Kinds()[n%len(wrap.Kinds())]
		file := known
		if n%20 < len(wrap.Kinds()) {
			file = clean // some must pass, or nothing is proven
		}
		m := wrap.NewMutant(r, kind, file)
		line, err := json.Marshal(job{Kind: kind, Type: m.ContentType, Body: base64.StdEncoding.EncodeToString(m.Body), Want: want})
		if err != nil {
			t.Error(err)
			return
		}
		line = append(line, '\n')
		for _, w := range workers {
			if _, err := w.in.Write(line); err != nil {
				t.Errorf("%s: %v after %d bodies", w.name, err, n)
				return
			}
		}
		found := goFinds(m, sum)
		for _, w := range workers {
			names, err := w.answer()
			if err != nil {
				t.Errorf("%s: %v after %d bodies, the last one %s", w.name, err, n, line)
				return
			}
			found = append(found, names...)
		}
		race.compare(t, m, found)
	}
}

// compare asks the gate.
func (race *parserRace) compare(t *testing.T, m wrap.Mutant, found []string) {
	v := wrap.Vector{Class: "parsers", Name: m.Kind, Header: http.Header{}}
	if m.ContentType != "" {
		v.Header.Set("Content-Type", m.ContentType)
	}
	if m.Encoding != "" {
		v.Header.Set("Content-Encoding", m.Encoding)
	}
	d := race.gate.judge(t, v, defaultPolicy(), scan.Request, m.Body)
	race.mu.Lock()
	defer race.mu.Unlock()
	s := race.sums[m.Kind]
	s.inputs++
	if len(found) > 0 {
		s.extracted++
	}
	if d.Action != scan.Pass {
		return
	}
	s.passed++
	if len(found) > 0 {
		t.Errorf("LEAK: %v extract the file from a body that passes.\nContent-Type: %q, Content-Encoding: %q, body in base64: %s", found, m.ContentType, m.Encoding, base64.StdEncoding.EncodeToString(m.Body))
	}
}

// goFinds names Go's own parsers that extract the file.
func goFinds(m wrap.Mutant, want [32]byte) []string {
	var found []string
	see := func(name string) func(r io.Reader) {
		return func(r io.Reader) {
			data, _ := io.ReadAll(io.LimitReader(r, 1<<20)) // what comes before an error counts
			if sha256.Sum256(data) == want {
				found = append(found, name)
			}
		}
	}
	switch m.Kind {
	case "multipart":
		mediaType, params, _ := mime.ParseMediaType(m.ContentType) // parameters may be there all the same
		if !strings.HasPrefix(mediaType, "multipart/") {
			break // net/http does not even begin
		}
		for name, raw := range map[string]bool{"go NextPart": false, "go NextRawPart": true} {
			goParts(multipart.NewReader(bytes.NewReader(m.Body), params["boundary"]), raw, see(name))
		}
	case "zip":
		if z, err := zip.NewReader(bytes.NewReader(m.Body), int64(len(m.Body))); err == nil || errors.Is(err, zip.ErrInsecurePath) {
			for _, f := range z.File {
				if r, err := f.Open(); err == nil {
					see("go archive/zip")(r)
				}
			}
		}
	case "tar":
		r := tar.NewReader(bytes.NewReader(m.Body))
		for range 100 {
			if _, err := r.Next(); err != nil && !errors.Is(err, tar.ErrInsecurePath) {
				break
			}
			see("go archive/tar")(r)
		}
	case "json":
		goJSON(m.Body, see("go encoding/json"))
	}
	return found
}

func goParts(r *multipart.Reader, raw bool, see func(io.Reader)) {
	for range 100 {
		next := r.NextPart
		if raw {
			next = r.NextRawPart
		}
		p, err := next()
		if err != nil {
			return
		}
		data, _ := io.ReadAll(p) // as above
		see(bytes.NewReader(data))
		if strings.EqualFold(p.Header.Get("Content-Transfer-Encoding"), "base64") {
			see(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(data)))
		}
	}
}

func goJSON(body []byte, see func(io.Reader)) {
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff"))))
	for range 100 {
		token, err := d.Token()
		if err != nil {
			return
		}
		if s, ok := token.(string); ok {
			for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
				if data, err := e.DecodeString(s); err == nil {
					see(bytes.NewReader(data))
				}
			}
		}
	}
}
