package content_test

import (
	"encoding/binary"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

func TestProtectedContainersAreRefused(t *testing.T) {
	rar4 := func(archive, file uint16) []byte {
		b := []byte("Rar!\x1a\x07\x00\x00\x00\x73")
		b = binary.LittleEndian.AppendUint16(b, archive)
		b = append(binary.LittleEndian.AppendUint16(b, 13), make([]byte, 6)...)
		b = append(b, 0, 0, 0x74)
		return append(binary.LittleEndian.AppendUint16(b, file), make([]byte, 30)...)
	}
	sevenZip := append([]byte("7z\xbc\xaf\x27\x1c\x00\x04\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00data"), "\x01\x04\x06\x00\x01\x24\x06\xf1\x07\x01"...)
	ole := append([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), make([]byte, 600)...)
	for _, c := range "EncryptedPackage" {
		ole = append(ole, byte(c), 0)
	}
	rows := []struct {
		name  string
		body  []byte
		cause scan.Cause
	}{
		{"RAR 4, headers", rar4(0x80, 0), scan.CauseEncrypted},
		{"RAR 4, member", rar4(0, 4), scan.CauseEncrypted},
		{"RAR 4, volume", rar4(1, 0), scan.CausePartialArchive},
		{"RAR 5", []byte("Rar!\x1a\x07\x01\x00\x00\x00\x00\x00\x21\x04\x00\x00\x01\x0f"), scan.CauseEncrypted},
		{"RAR 5, volume", []byte("Rar!\x1a\x07\x01\x00\x00\x00\x00\x00\x0b\x01\x01\x05\x01\x00\x80"), scan.CausePartialArchive},
		{"RAR 5, volume without extra area", []byte("Rar!\x1a\x07\x01\x00\x00\x00\x00\x00\x03\x01\x00\x01"), scan.CausePartialArchive},
		{"7z", sevenZip, scan.CauseEncrypted},
		{"Office", ole, scan.CauseEncrypted},
	}
	for _, row := range rows {
		u := unwrap(t, row.body, labelled(""), scan.ContentLimits{}, content.Config{})
		if u.verdict.Outcome != scan.OutcomePolicy || u.verdict.Cause != row.cause {
			t.Errorf("%s: %+v", row.name, u.verdict)
		}
	}
	for _, body := range [][]byte{rar4(0, 0), []byte("Rar!\x1a\x07\x01\x00\x00\x00\x00\x00\x0b\x01\x01\x05\x00\x00\x80"), ole[:600], sevenZip[:36], []byte("Rar!\x1a\x07\x00"), []byte("7z\xbc\xaf\x27\x1c")} {
		unwrap(t, body, labelled(""), scan.ContentLimits{}, content.Config{}).wantClean(t)
	}
}
