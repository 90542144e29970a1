package wrap

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
)

// Settings that let a clean body through which the default policy refuses.
const (
	SettingNone        = ""            // it passes by default
	SettingLenient     = "lenient"     // content.multipart: lenient
	SettingSelfExtract = "sfx"         // content.self_extracting: true
	SettingPartial     = "partial"     // partial_content: pass
	SettingUnscannable = "unscannable" // unscannable: pass
	SettingCauses      = "causes"      // pass_causes, with the cause of the refusal
	SettingNever       = "never"       // no setting but enforce: false
)

// Vector is one way of wrapping a file.
type Vector struct {
	// Class is one of those in [Classes]; Name is unique within it.
	Class, Name string
	// UpOnly and DownOnly name the legs that the vector makes sense on; neither: both.
	UpOnly, DownOnly bool
	// Text says that the file must be readable text, Long that it must have a few
	// hundred bytes; else it may also be a [Tiny] one.
	Text, Long bool
	// Method of the upload; empty: POST. Query is appended to the path of the request.
	Method, Query string
	// Header of the message that carries the body.
	Header http.Header
	// Status of the response; 0: 200.
	Status int
	// Body wraps the file.
	Body func(file []byte) []byte
	// Refused is the cause for which the default policy refuses a clean twin, and
	// Setting what lets that pass. Empty: it passes.
	Refused, Setting string
	// Why says what makes it ambiguous, for a reader of the list of refusals.
	Why string
}

// Classes are the classes of vectors, in their order.
func Classes() []string {
	return []string{"MP", "CE", "AR", "EM", "TR", "RS", "SZ", "TC", "IN", "NEST"}
}

// generator makes vectors; what it leaves to chance it takes from random.
type generator struct {
	random *rand.Rand
	all    []Vector
}

// All returns the vectors of every class.
func All(seed uint64) []Vector {
	g := &generator{random: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))}
	g.contentTypes()
	g.forms()
	g.readers()
	g.lenientForms()
	g.codings()
	g.zips()
	g.otherArchives()
	g.json()
	g.markup()
	g.text()
	g.protocols()
	g.responses()
	g.sizes()
	g.hostile()
	g.nests(24)
	slices.SortStableFunc(g.all, func(a, b Vector) int { return strings.Compare(a.Class+a.Name, b.Class+b.Name) })
	return g.all
}

// Nests returns count random nests of harmless wrappings alone.
func Nests(seed uint64, count int) []Vector {
	g := &generator{random: rand.New(rand.NewPCG(seed, 77))}
	g.nests(count)
	return g.all
}

func (g *generator) add(v Vector) { g.all = append(g.all, v) }

// pass adds a vector whose clean twin must pass by default.
func (g *generator) pass(class, name, contentType string, body func([]byte) []byte) {
	g.add(Vector{Class: class, Name: name, Header: typed(contentType), Body: body})
}

// typed is a header with these Content-Type lines; an empty one is left out.
func typed(contentTypes ...string) http.Header {
	h := http.Header{}
	for _, v := range contentTypes {
		if v != "" {
			h.Add("Content-Type", v)
		}
	}
	return h
}

func coded(contentType string, codings ...string) http.Header {
	h := typed(contentType)
	h["Content-Encoding"] = slices.Clone(codings)
	return h
}

// Binary is a small program, or what is taken for one: it begins like an MS-DOS
// executable and holds every byte, line ends and dashes. Different n give
// different files.
func Binary(n byte) []byte {
	p := []byte("MZ\x90\x00\x03\x00\x00\x00\r\n--\r\n\r\n")
	r := rand.New(rand.NewPCG(uint64(n), 4711))
	for len(p) < 1990 {
		p = append(p, byte(r.Uint32()))
	}
	return append(p, "\r\n\x00tail"...)
}

// Tiny is a program of a few bytes more than an embedded file must have.
func Tiny(n byte) []byte { return append([]byte("MZ"), Binary(n)[60:160]...) }

// Script is a small program in text. Different n give different ones of the
// same length.
func Script(n byte) []byte {
	p := []byte("#!/bin/sh\n# portcullis test, \"quoted\" & <marked> = 100% 'harmless' \\ a+b/c\n")
	for i := range 30 {
		p = append(p, "echo line "+string(rune('a'+i%26))+string(rune('A'+n%26))+"; test 1 -lt 2 && true\n"...)
	}
	return p
}
