package cloudmersivetest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
)

type signature struct {
	name    string
	pattern []byte
}

// eicar is joined here, so that this file does not alarm a scanner.
func eicar() []byte {
	return []byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD` + `-ANTIVIRUS-TEST-FILE!$H+H*`)
}

// headSize is how much of a file's start is kept to tell its type.
const headSize = 64 << 10

// file looks for signatures while bytes pass, so that large uploads cost no memory.
type file struct {
	signatures []signature
	viruses    []string
	marks      map[string]bool
	head       []byte
	tail       []byte // the last bytes seen, in which a pattern may begin
}

// marks are literal signs of things that may be anywhere in a file.
func fileMarks() map[string][]byte {
	return map[string][]byte{
		"macros": []byte("vbaProject.bin"),
		"entity": []byte("<!ENTITY"),
		"script": []byte("<script"),
		"action": []byte("/OpenAction"),
		"dotnet": []byte(`"$type"`),
		"java":   []byte("rO0AB"),
		"ole":    []byte("oleObject1.bin"),
	}
}

func (f *file) Write(p []byte) (int, error) {
	if f.marks == nil {
		f.marks = map[string]bool{}
	}
	if room := headSize - len(f.head); room > 0 {
		f.head = append(f.head, p[:min(room, len(p))]...)
	}
	window := append(f.tail, p...) //nolint:gocritic // tail is replaced below
	longest := 0
	for _, s := range f.signatures {
		longest = max(longest, len(s.pattern))
		if !slices.Contains(f.viruses, s.name) && bytes.Contains(window, s.pattern) {
			f.viruses = append(f.viruses, s.name)
		}
	}
	for name, mark := range fileMarks() {
		longest = max(longest, len(mark))
		f.marks[name] = f.marks[name] || bytes.Contains(window, mark)
	}
	keep := min(len(window), max(0, longest-1))
	f.tail = append([]byte(nil), window[len(window)-keep:]...)
	return len(p), nil
}

// format is the extension of the type that the content proves, or "".
func (f *file) format() string {
	for _, t := range []struct{ ext, magic string }{
		{".pdf", "%PDF-"},
		{".png", "\x89PNG\r\n\x1a\n"},
		{".jpg", "\xff\xd8\xff"},
		{".gif", "GIF8"},
		{".zip", "PK\x03\x04"},
		{".exe", "MZ"},
		{".elf", "\x7fELF"},
		{".doc", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"},
	} {
		if bytes.HasPrefix(f.head, []byte(t.magic)) {
			return t.ext
		}
	}
	return ""
}

func (f *file) isExecutable() bool {
	return slices.Contains([]string{".exe", ".elf"}, f.format())
}

func (f *file) isHTML() bool {
	start := bytes.ToLower(bytes.TrimSpace(f.head[:min(len(f.head), 512)]))
	return bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html"))
}

func (f *file) isScript() bool {
	return bytes.HasPrefix(f.head, []byte("#!")) || bytes.HasPrefix(f.head, []byte("<?php")) || f.marks["script"]
}

// isEncrypted reads the flag of the first member of a zip.
func (f *file) isEncrypted() bool {
	return f.format() == ".zip" && len(f.head) > 8 && f.head[6]&1 != 0
}

// isUnsafe compares the sizes that the first member of a zip declares.
func (f *file) isUnsafe() bool {
	if f.format() != ".zip" || len(f.head) < 30 {
		return false
	}
	packed := uint64(binary.LittleEndian.Uint32(f.head[18:]))
	unpacked := uint64(binary.LittleEndian.Uint32(f.head[22:]))
	return packed > 0 && unpacked/packed > 500
}

// isInvalid judges files that claim to be what they are not, or broken JSON.
func (f *file) isInvalid(name string) bool {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return false
	}
	switch claimed := strings.ToLower(name[dot:]); claimed {
	case ".pdf", ".png", ".gif", ".zip", ".exe":
		return f.format() != claimed
	case ".json":
		return len(f.head) < headSize && !json.Valid(f.head)
	}
	return false
}
