package app

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A large file is read again when it was replaced, changed in length or touched,
// and not at every look; a small one always is, whatever its times say.
func TestDigestFile(t *testing.T) {
	const large = readAlways + 1
	file, past := filepath.Join(t.TempDir(), "list"), time.Now().Add(-time.Hour)
	write := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, past, past); err != nil {
			t.Fatal(err)
		}
	}
	memo := map[string]seenFile{}
	write(bytes.Repeat([]byte("a"), large))
	first := digestFile(file, memo)
	if again := digestFile(file, memo); again != first || len(first) != 64 {
		t.Errorf("the same file gives %q and %q", first, again)
	}
	known := memo[file]
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got := digestFile(file, memo); got == first {
		t.Error("a file that is gone has a digest")
	}
	spare := filepath.Join(filepath.Dir(file), "spare") // so that the inode is not used again
	if err := os.WriteFile(spare, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	write(bytes.Repeat([]byte("b"), large))
	if got := digestFile(file, memo); got == first {
		t.Error("a file of the same size and time in its place is taken for the same")
	}
	if memo[file].at.Equal(known.at) {
		t.Error("it was not read")
	}
	write(bytes.Repeat([]byte("b"), large+1))
	if got := digestFile(file, memo); got == digestOf(bytes.Repeat([]byte("b"), large)) {
		t.Error("one more byte makes no difference")
	}
	for _, content := range []string{"one", "two"} {
		write([]byte(content))
		if got := digestFile(file, memo); got != digestOf([]byte(content)) {
			t.Errorf("%s of the same size and time was not read", content)
		}
	}
	if got := digestFile(filepath.Dir(file), memo); got == "" || len(got) == 64 {
		t.Errorf("a folder has the digest %q", got)
	}
}
