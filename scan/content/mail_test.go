package content_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

// attached is a mail with a file that is small enough to be found by its header alone.
func attached(fields string, data []byte) string {
	return fields + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\nContent-Type: text/plain\r\n\r\nhello\r\n" +
		"--q\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + wrapped(data, 76, "\r\n") + "--q--\r\n"
}

func TestMailWithOddHeaders(t *testing.T) {
	file := noise(150, 4)
	for name, body := range map[string]string{
		"a field that is not in RFC 5322": attached("X-Foo: bar\r\n", file),
		"a byte order mark":               attached("\xef\xbb\xbfX-Foo: bar\r\n", file),
		"CR alone":                        strings.ReplaceAll(attached("Subject: x\r\n", file), "\r\n", "\r"),
		"LF alone":                        strings.ReplaceAll(attached("Subject: x\r\n", file), "\r\n", "\n"),
		"many fields":                     attached(strings.Repeat("X-Foo: some words\r\n", 9000), file),
		"one long field":                  attached("X-Foo: "+strings.Repeat("word ", 30_000)+"\r\n", file),
	} {
		u := unwrap(t, []byte(body), labelled(""), scan.ContentLimits{}, content.Config{})
		u.wantClean(t)
		if !u.has(file) {
			t.Errorf("%s: the attachment is no object; objects %q", name, u.paths)
		}
	}
	endless := "MIME-Version: 1.0\r\n" + strings.Repeat("X-Foo: some words\r\n", 90_000) + attached("", file)
	unwrap(t, []byte(endless), labelled("message/rfc822"), scan.ContentLimits{}, content.Config{}).wantVerdict(t, scan.OutcomeUnscannable, scan.CauseMalformedBody)
	log := strings.Repeat("date: 2026-11-28 nothing happened\n", 90_000)
	unwrap(t, []byte(log), labelled("text/plain"), scan.ContentLimits{}, content.Config{}).wantClean(t)
}

func TestEveryMessageOfAMailboxIsTakenApart(t *testing.T) {
	const from = "From a@example.net Sun Nov 22 14:00:00 2026\r\n"
	plain := from + "Subject: x\r\n\r\nFrom here on there is text,\r\nFrom the heart.\r\n\r\n"
	var b strings.Builder
	var files [][]byte
	for i := range 5 {
		files = append(files, noise(150, uint64(10+i)))
		b.WriteString(plain + from + attached(fmt.Sprintf("Subject: %d\r\n", i), files[i]) + "\r\n")
	}
	for _, body := range []string{b.String(), strings.ReplaceAll(b.String(), "\r\n", "\n"), strings.ReplaceAll(b.String(), "\r\n\r\nFrom", "\r\nFrom")} {
		u := unwrap(t, []byte(body), labelled("application/mbox"), scan.ContentLimits{}, content.Config{})
		u.wantClean(t)
		for i, f := range files {
			if !u.has(f) {
				t.Errorf("attachment %d is no object; objects %q", i, u.paths)
			}
		}
	}
	many := strings.Repeat(plain, 2000)
	u := unwrap(t, []byte(many), labelled(""), scan.ContentLimits{MaxObjects: 100}, content.Config{})
	u.wantVerdict(t, scan.OutcomeUnscannable, scan.CauseTooManyObjects)
	u = unwrap(t, []byte(many), labelled(""), scan.ContentLimits{}, content.Config{})
	u.wantClean(t)
	if len(u.paths) > 0 {
		t.Errorf("messages without a file are objects: %d", len(u.paths))
	}
}

func TestUuencodeAsItComes(t *testing.T) {
	data := append([]byte("MZ"), bytes.Repeat([]byte("abcdefghijklmnopqrstuvwxyz0123456789abcdef\x00\x00\x00"), 9)...)
	for name, change := range map[string]func(string) string{
		"as written":            func(s string) string { return s },
		"blanks at ends gone":   func(s string) string { return strings.ReplaceAll(s, "    \n", "\n") },
		"a mode of one digit":   func(s string) string { return strings.Replace(s, "644", "0", 1) },
		"blanks around":         func(s string) string { return strings.Replace(s, " 644 ", "\t 644  ", 1) },
		"lines behind the last": func(s string) string { return strings.Replace(s, "\n \nend", "\n \n#86)C\nend", 1) },
	} {
		body := change(uu(data))
		u := unwrap(t, []byte(body), labelled("text/plain"), scan.ContentLimits{}, content.Config{})
		u.wantClean(t)
		if !u.has(data) {
			t.Errorf("%s: the file is no object; objects %q", name, u.paths)
		}
	}
}
