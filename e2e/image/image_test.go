package image_test

import (
	"bytes"
	"crypto/x509"
	"debug/elf"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

const (
	repository = "../.."
	user       = 65532
	name       = "registry.example.com/portcullis"
)

// build runs what "make image" runs, and returns the archive, the bill of
// materials and what was printed.
func build(t *testing.T, tag string) (archiveFile, sbom, printed string) {
	t.Helper()
	out := t.TempDir()
	source, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", ".", "-source", source, "-out", out, "-name", name, "-tag", tag,
		"-platforms", "linux/"+runtime.GOARCH)
	cmd.Dir = filepath.Join(repository, "e2e/tools/image")
	// Nothing of this process, its folder for temporary files included, may be in the image.
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, complaints.Bytes())
	}
	return filepath.Join(out, "portcullis-"+tag+".tar"), filepath.Join(out, "portcullis-"+tag+".spdx.json"), string(text)
}

// version is that of the chart, which is that of the program.
func version(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "helm/portcullis/Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "\nappVersion: ")
	v, _, _ := strings.Cut(after, "\n")
	return v
}

// The same sources give the same image, bit for bit; it holds a static program
// that runs with nothing else around it and as nobody, the authorities it needs
// on the public web, and the licence of all that is linked into it.
func TestImage(t *testing.T) {
	fetch := exec.CommandContext(t.Context(), "go", "mod", "download")
	fetch.Dir = filepath.Join(repository, "e2e/tools/image")
	if out, err := fetch.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v: %s (CI=true)", err, out)
		}
		t.Skipf("the modules of e2e/tools/image cannot be fetched: %v: %s", err, out)
	}
	tag := version(t)
	file, sbom, printed := build(t, tag)
	again, _, printedAgain := build(t, tag)
	digest := printed[strings.LastIndex(printed, name):]
	if !strings.HasPrefix(digest, name+":"+tag+"@sha256:") || !strings.HasSuffix(printedAgain, digest) {
		t.Errorf("printed %q, then %q", printed, printedAgain)
	}
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("built twice, the archives differ")
	}

	a := readArchive(t, file)
	var index struct{ Manifests []descriptor }
	a.json(t, "index.json", &index)
	if len(index.Manifests) != 1 || !strings.Contains(digest, index.Manifests[0].Digest) ||
		index.Manifests[0].Annotations["io.containerd.image.name"] != name+":"+tag {
		t.Fatalf("the index is %+v", index)
	}
	var m manifest
	a.json(t, index.Manifests[0].blob(), &m)
	var c configuration
	a.json(t, m.Config.blob(), &c)
	if c.OS != "linux" || c.Architecture != runtime.GOARCH || c.Config.User != "65532:65532" || strings.Join(c.Config.Entrypoint, " ") != "/portcullis" ||
		c.Config.Labels["org.opencontainers.image.version"] != tag || len(c.RootFS.DiffIDs) != len(m.Layers) {
		t.Errorf("the configuration is %+v", c)
	}
	root := t.TempDir()
	files := a.unpack(t, m, root)
	if h := files["var/lib/portcullis/spool"]; h == nil || h.Uid != user || h.Mode != 0o700 {
		t.Errorf("the spool's folder: %+v", h)
	}
	checkStatic(t, filepath.Join(root, "portcullis"))
	checkRuns(t, root, tag)
	checkAuthorities(t, filepath.Join(root, "etc/ssl/certs/ca-certificates.crt"))
	checkModules(t, root, sbom)
}

func checkStatic(t *testing.T, file string) {
	t.Helper()
	program, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program needs a loader, which the image has not")
		}
	}
}

// checkRuns starts the program with the image as its whole world where that is
// allowed, and from its folder elsewhere.
func checkRuns(t *testing.T, root, tag string) {
	t.Helper()
	path := filepath.Join(root, "portcullis")
	cmd := exec.CommandContext(t.Context(), path, "version")
	cmd.Env = []string{}
	if os.Geteuid() == 0 {
		// t.TempDir is for its owner alone.
		for dir := root; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd.Path, cmd.Args, cmd.Dir = "/portcullis", []string{"/portcullis", "version"}, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: user, Gid: user}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "portcullis "+tag) {
		t.Errorf("it says %q, error %v", out, err)
	}
}

func checkAuthorities(t *testing.T, file string) {
	t.Helper()
	rest, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			t.Error(err)
		}
		n++
	}
	if n < 50 {
		t.Errorf("only %d authorities", n)
	}
}

// checkModules compares with the committed list of what is linked into the
// program: each has its licence in the image and its line in the bill.
func checkModules(t *testing.T, root, sbom string) {
	t.Helper()
	linked, err := os.ReadFile(filepath.Join(repository, "cmd/portcullis/app/testdata/modules.txt"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(sbom)
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		SPDXVersion string
		Packages    []struct {
			Name, VersionInfo string
			Refs              []struct{ ReferenceLocator string } `json:"externalRefs"`
		}
	}
	if err := json.Unmarshal(text, &bill); err != nil {
		t.Fatal(err)
	}
	packages := map[string]string{}
	for _, p := range bill.Packages {
		packages[p.Name] = p.VersionInfo
	}
	modules := append(strings.Fields(string(linked)), "stdlib")
	for _, m := range modules {
		version, ok := packages[m]
		if !ok {
			t.Errorf("%s is not in the bill of materials", m)
			continue
		}
		folder := filepath.Join(root, "licences", m+"@"+version)
		if m == "stdlib" {
			folder = filepath.Join(root, "licences", "go.dev@"+version)
		}
		if entries, err := os.ReadDir(folder); err != nil || len(entries) == 0 {
			t.Errorf("no licence of %s in the image: %v", m, err)
		}
	}
	// Besides them stand the image and Portcullis itself.
	if len(packages) != len(modules)+2 {
		t.Errorf("%d packages in the bill for %d modules", len(packages), len(modules))
	}
	if _, err := os.Stat(filepath.Join(root, "licences/github.com/portcullis-av/portcullis/LICENSE")); err != nil {
		t.Error(err)
	}
}
