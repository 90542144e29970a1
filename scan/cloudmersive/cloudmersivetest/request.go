package cloudmersivetest

import (
	"crypto/sha256"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
)

// Request is what one call brought.
type Request struct {
	Method, Path, Proto string
	// ContentLength is what the request declared, -1 for none.
	ContentLength int64
	// Header holds all headers; see http.Header for its spelling of names.
	Header http.Header
	// Key is the value of the Apikey header, HasKey whether there was one.
	Key    string
	HasKey bool
	// Options holds the headers the advanced scan knows, by their documented
	// spelling, fileName included.
	Options map[string]string

	// Found says whether there was a part named inputFile; what follows is of
	// that part.
	Found bool
	// PartFileName is the part's filename parameter as it stood there.
	PartFileName string
	// PartHeader are the part's headers.
	PartHeader map[string][]string
	Size       int64
	SHA256     [32]byte
	// Complete says that the form was read to its proper end.
	Complete bool

	file file
}

func optionNames() []string {
	return []string{
		"fileName", "allowExecutables", "allowScripts", "allowMacros", "allowInvalidFiles",
		"allowPasswordProtectedFiles", "allowUnsafeArchives", "allowXmlExternalEntities",
		"allowInsecureDeserialization", "allowHtml", "allowOleEmbeddedObject",
		"allowUnwantedAction", "options", "restrictFileTypes",
	}
}

// describe notes all that is known without the body.
func describe(r *http.Request) Request {
	got := Request{
		Method: r.Method, Path: r.URL.Path, Proto: r.Proto, ContentLength: r.ContentLength,
		Header: r.Header.Clone(), Options: map[string]string{},
	}
	// Header names have no case, and Go changes it on the way.
	for name, values := range r.Header {
		if strings.EqualFold(name, "Apikey") {
			got.Key, got.HasKey = values[0], true
		}
		for _, option := range optionNames() {
			if strings.EqualFold(name, option) {
				got.Options[option] = values[0]
			}
		}
	}
	return got
}

// receive reads the whole body, keeping only what judging it needs.
func (s *Server) receive(r *http.Request) Request {
	got := describe(r)
	form, err := r.MultipartReader()
	if err != nil {
		_, err = io.Copy(io.Discard, r.Body)
		got.Complete = err == nil
		return got
	}
	for {
		part, err := form.NextRawPart()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r.Body)
			got.Complete = err == nil
			return got
		}
		if err != nil {
			return got
		}
		disposition, parameters, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if err != nil || disposition != "form-data" || parameters["name"] != "inputFile" || got.Found {
			continue
		}
		got.Found = true
		got.PartFileName = parameters["filename"]
		got.PartHeader = part.Header
		digest := sha256.New()
		got.file.signatures = s.signatures
		got.Size, err = io.Copy(io.MultiWriter(digest, &got.file), part)
		digest.Sum(got.SHA256[:0])
		if err != nil {
			return got
		}
	}
}
