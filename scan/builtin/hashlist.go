package builtin

import (
	"bufio"
	"crypto/md5"  //nolint:gosec // what the lists are made of
	"crypto/sha1" //nolint:gosec // what the lists are made of
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
)

// List is one loaded hash list. Each of its lines is
//   - "md5:size:Name", as in ClamAV's .hdb files,
//   - "sha1:size:Name" or "sha256:size:Name", as in its .hsb files,
//   - "sha256" alone or followed by white space and a name, as sha256sum prints,
//   - empty, or a comment that begins with "#".
//
// Digests are hexadecimal in either case. A size is a number of bytes or "*";
// after the name may follow the functionality levels that ClamAV allows, which
// are checked for form and mean nothing here. A digest that is listed twice
// keeps its first name.
type List struct {
	Path string
	// Entries is the number of lines that name a digest; 0 is worth a warning.
	Entries int
	// SHA256 is the digest of the file.
	SHA256 [32]byte
}

const (
	anySize = -1
	// maxComplaints bounds how many malformed lines of one file are named.
	maxComplaints = 10
)

// digests are the entries of all lists.
type digests struct {
	md5    table[[md5.Size]byte]
	sha1   table[[sha1.Size]byte]
	sha256 table[[sha256.Size]byte]
}

func newDigests() *digests {
	return &digests{
		md5: newTable[[md5.Size]byte](), sha1: newTable[[sha1.Size]byte](), sha256: newTable[[sha256.Size]byte](),
	}
}

// table maps digests of one kind to names.
type table[D comparable] struct {
	names map[entry[D]]string
	sizes map[int64]struct{}
}

type entry[D comparable] struct {
	digest D
	size   int64 // or anySize
}

func newTable[D comparable]() table[D] {
	return table[D]{names: make(map[entry[D]]string), sizes: make(map[int64]struct{})}
}

func (t table[D]) add(digest D, size int64, name string) {
	t.sizes[size] = struct{}{}
	key := entry[D]{digest, size}
	if _, ok := t.names[key]; !ok {
		t.names[key] = name
	}
}

// concerns reports whether an object of that size could be listed.
func (t table[D]) concerns(size int64) bool {
	if _, ok := t.sizes[anySize]; ok {
		return true
	}
	_, ok := t.sizes[size]
	return ok
}

func (t table[D]) find(digest D, size int64) (string, bool) {
	if len(t.names) == 0 {
		return "", false
	}
	if name, ok := t.names[entry[D]{digest, size}]; ok {
		return name, true
	}
	name, ok := t.names[entry[D]{digest, anySize}]
	return name, ok
}

// load adds the entries of the file to known.
func load(file string, known *digests) (List, error) {
	f, err := os.Open(file) //nolint:gosec // the operator's configuration names it
	if err != nil {
		return List{}, fmt.Errorf("hash list: %w", err)
	}
	defer func() { _ = f.Close() }()
	whole := sha256.New()
	list := List{Path: file}
	lines := bufio.NewScanner(io.TeeReader(f, whole))
	var complaints []error
	number := 0
	for lines.Scan() && len(complaints) < maxComplaints {
		number++
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := known.addLine(line); err != nil {
			complaints = append(complaints, fmt.Errorf("hash list %s:%d: %w", file, number, err))
			continue
		}
		list.Entries++
	}
	if err := lines.Err(); err != nil {
		complaints = append(complaints, fmt.Errorf("hash list %s:%d: %w", file, number+1, err))
	}
	if len(complaints) > 0 {
		return List{}, errors.Join(complaints...)
	}
	list.SHA256 = [sha256.Size]byte(whole.Sum(nil))
	return list, nil
}

func (d *digests) addLine(line string) error {
	digest, size, name, err := parseLine(line)
	if err != nil {
		return err
	}
	switch len(digest) {
	case md5.Size:
		d.md5.add([md5.Size]byte(digest), size, name)
	case sha1.Size:
		d.sha1.add([sha1.Size]byte(digest), size, name)
	case sha256.Size:
		d.sha256.add([sha256.Size]byte(digest), size, name)
	default:
		return fmt.Errorf("a digest of %d bytes, want 16 (MD5), 20 (SHA-1) or 32 (SHA-256)", len(digest))
	}
	return nil
}

// parseLine tells the two forms apart by what follows the digest.
func parseLine(line string) (digest []byte, size int64, name string, err error) {
	end := strings.IndexAny(line, ": \t")
	if end >= 0 && line[end] == ':' {
		return parseClamAV(line)
	}
	return parsePlain(line)
}

func parseClamAV(line string) (digest []byte, size int64, name string, err error) {
	fields := strings.Split(line, ":")
	if len(fields) < 3 || len(fields) > 5 {
		return nil, 0, "", fmt.Errorf("%d fields, want digest:size:name", len(fields))
	}
	if digest, err = parseDigest(fields[0]); err != nil {
		return nil, 0, "", err
	}
	size = anySize
	if fields[1] != "*" {
		size, err = strconv.ParseInt(fields[1], 10, 64)
		if err != nil || size <= 0 {
			return nil, 0, "", fmt.Errorf("size %.40q is neither a positive number nor *", fields[1])
		}
	}
	if fields[2] == "" {
		return nil, 0, "", errors.New("no name")
	}
	for _, level := range fields[3:] {
		if _, err := strconv.ParseUint(level, 10, 32); err != nil {
			return nil, 0, "", fmt.Errorf("functionality level %.40q is no number", level)
		}
	}
	return digest, size, fields[2], nil
}

func parsePlain(line string) (digest []byte, size int64, name string, err error) {
	// sha256sum begins a line with a backslash when it escaped the file's name,
	// and the name with an asterisk when it read in binary mode.
	text, name, _ := strings.Cut(strings.ReplaceAll(strings.TrimPrefix(line, `\`), "\t", " "), " ")
	if digest, err = parseDigest(text); err != nil {
		return nil, 0, "", err
	}
	if len(digest) != sha256.Size {
		return nil, 0, "", fmt.Errorf("a digest of %d bytes without a size, want SHA-256 or digest:size:name", len(digest))
	}
	name = strings.TrimPrefix(strings.TrimSpace(name), "*")
	if name == "" {
		return digest, anySize, "Listed.SHA256." + hex.EncodeToString(digest[:8]), nil
	}
	return digest, anySize, path.Base(name), nil
}

func parseDigest(s string) ([]byte, error) {
	digest, err := hex.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("digest %.80q is not hexadecimal", s)
	}
	return digest, nil
}
