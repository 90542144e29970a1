package content_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

const compound = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

// withLongEntry is an archive whose last directory entry ends in a comment that is
// as long as one can be.
func withLongEntry(data []byte) []byte {
	one := plainZip(member{name: "a", data: data})
	dir := directory(one)
	entry := append(at(one[dir:len(one)-22], 32, 0xff, 0xff), bytes.Repeat([]byte("c"), 1<<16-1)...)
	end := bytes.Clone(one[len(one)-22:])
	binary.LittleEndian.PutUint32(end[12:], uint32(len(entry)))
	return slices.Concat(one[:dir], entry, end)
}

func TestArchivesBehindOtherBytesAreRefused(t *testing.T) {
	one := plainZip(member{name: "a", data: eicar()})
	unicode := func(name string) []byte {
		field := binary.LittleEndian.AppendUint16([]byte{0x75, 0x70}, uint16(5+len(name)))
		field = append(append(field, 1, 0, 0, 0, 0), name...)
		dir := directory(one)
		body := slices.Concat(one[:dir], at(one[dir:len(one)-22], 30, byte(len(field))), field, one[len(one)-22:])
		binary.LittleEndian.PutUint32(body[len(body)-10:], uint32(47+len(field)))
		return body
	}
	for name, body := range map[string][]byte{
		"last entry longer than the tail":        append([]byte("GIF89a......"), withLongEntry(eicar())...),
		"more zeros behind than a comment":       slices.Concat([]byte("GIF89a......"), one, make([]byte, 70_000)),
		"behind a block of zeros":                append(make([]byte, 512), one...),
		"Unicode name that leads out":            unicode("../../x"),
		"many end records in front":              slices.Concat([]byte("GIF89a"), bytes.Repeat([]byte("PK\x05\x06"), 10_000), one),
		"signing block with a local header":      signed(one, string(one[:len(one)-69])),
		"signing block over two blocks":          signed(one, strings.Repeat("x", 96<<10-2-8)+string(one)),
		"descriptor inside a stored member":      withDescriptorInside(t, eicar(), false),
		"descriptor between blocks of a member":  withDescriptorInside(t, noise(96<<10-3, 1), false),
		"descriptor and an entry in a member":    withDescriptorInside(t, []byte("harmless"), true),
		"descriptor at the very end of a member": withDescriptorInside(t, noise(3*96<<10-8, 1), false),
	} {
		u := unwrap(t, body, labelled(""), scan.ContentLimits{}, content.Config{})
		if u.verdict.Cause != scan.CauseAmbiguousArchive {
			t.Errorf("%s: verdict %+v", name, u.verdict)
		}
	}
	unwrap(t, signed(one, strings.Repeat("signatures", 20_000)), labelled(""), scan.ContentLimits{}, content.Config{}).wantClean(t)
	unwrap(t, unicode("b"), labelled(""), scan.ContentLimits{}, content.Config{}).wantClean(t)
}

// withDescriptorInside is an archive as Go writes it, with a descriptor behind its
// stored member; within that there is one of its first bytes.
func withDescriptorInside(t *testing.T, first []byte, entry bool) []byte {
	inner := zipOf(t, member{name: "x", data: first})
	described := inner[30+1+len(first):][:16]
	data := slices.Concat(first, described)
	if entry {
		data = append(data, plainZip(member{name: "a", data: eicar()})[:31+len(eicar())]...)
	}
	return zipOf(t, member{name: "x", data: data})
}

// signed puts a signing block between the members of an archive and its directory.
func signed(archive []byte, signatures string) []byte {
	start := directory(archive)
	size := uint64(len(signatures) + 24)
	block := append(binary.LittleEndian.AppendUint64(nil, size), signatures...)
	block = append(binary.LittleEndian.AppendUint64(block, size), "APK Sig Block 42"...)
	body := slices.Concat(archive[:start], block, archive[start:])
	binary.LittleEndian.PutUint32(body[len(body)-6:], uint32(start+len(block)))
	return body
}

// An installer with a program for Java behind it and a byte behind that runs as both.
func TestArchivesWithinOtherFilesAreTakenApart(t *testing.T) {
	inner := zipOf(t, member{name: "../x", data: noise(900, 1), method: 8}, member{name: "a", data: eicar(), method: 8})
	stored := plainZip(member{name: "a", data: eicar()})
	front := compound + strings.Repeat("\x00", 504)
	inGzip := gzWith(t, []byte("hello"), 4, append([]byte{byte(len(stored)), byte(len(stored) >> 8)}, stored...)...)
	for name, body := range map[string][]byte{
		"a byte behind":        slices.Concat([]byte(front), inner, []byte("x")),
		"stored":               slices.Concat([]byte(front), stored, []byte("and more")),
		"long entry":           slices.Concat([]byte(front), withLongEntry(eicar()), []byte("x")),
		"two":                  slices.Concat([]byte(front), stored, zipOf(t, member{name: "b", data: noise(80, 2)}), []byte("x")),
		"in a header of gzip":  inGzip,
		"offsets of the whole": slices.Concat([]byte(front), fromFront(stored, len(front)), []byte("x")),
	} {
		u := unwrap(t, body, labelled(""), scan.ContentLimits{}, content.Config{})
		u.wantClean(t)
		if !u.has(eicar()) {
			t.Errorf("%s: the member is no object; objects %q", name, u.paths)
		}
	}
	var many []byte
	for range 20 {
		many = append(many, stored...)
	}
	unwrap(t, slices.Concat([]byte(front), many, []byte("x")), labelled(""), scan.ContentLimits{}, content.Config{}).
		wantVerdict(t, scan.OutcomeUnscannable, scan.CauseTooManyObjects)
}

// fromFront is an archive of one member whose offsets count bytes in front of it.
func fromFront(archive []byte, front int) []byte {
	dir := directory(archive)
	archive = bytes.Clone(archive)
	binary.LittleEndian.PutUint32(archive[dir+42:], uint32(front))
	binary.LittleEndian.PutUint32(archive[len(archive)-6:], uint32(front+dir))
	return archive
}

// A program that reads archives holds their signatures.
func TestSignaturesAloneAreNoArchive(t *testing.T) {
	body := slices.Concat([]byte("\x7fELF"), noise(3000, 1), []byte("PK\x01\x02"), noise(70, 2), []byte("PK\x03\x04PK\x05\x06"), noise(900, 3))
	unwrap(t, body, labelled(""), scan.ContentLimits{}, content.Config{}).wantClean(t)
}

// What mysqldump | zip makes, and jars of old versions of Maven.
func TestOddKindsOfMembersAreAccepted(t *testing.T) {
	for _, mode := range []uint32{0x1180, 0xffff} {
		body := zipOf(t, member{name: "-", data: eicar(), method: 8, change: func(h *zip.FileHeader) { h.CreatorVersion = 3 << 8; h.ExternalAttrs = mode << 16 }})
		u := unwrap(t, body, labelled(""), scan.ContentLimits{}, content.Config{})
		u.wantClean(t)
		u.wantObject(t, "body/zip[0]", eicar())
	}
}

// Sizes of 64 bits for a small stored member: zip -fz writes them.
func TestForcedZip64IsAccepted(t *testing.T) {
	one := plainZip(member{name: "a", data: eicar()})
	dir := directory(one)
	field := slices.Concat([]byte{1, 0, 8, 0, byte(len(eicar()))}, make([]byte, 7))
	body := slices.Concat(one[:dir], at(at(one[dir:len(one)-22], 30, 12), 24, 0xff, 0xff, 0xff, 0xff), field, one[len(one)-22:])
	binary.LittleEndian.PutUint32(body[len(body)-10:], uint32(47+len(field)))
	u := unwrap(t, body, labelled(""), scan.ContentLimits{}, content.Config{})
	u.wantClean(t)
	u.wantObject(t, "body/zip[0]", eicar())
}
