package cloudmersivetest

import (
	"crypto/sha1" //nolint:gosec // the service reports SHA-1
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// refusal is the one text for a wrong key, a spent quota and too small a plan.
const refusal = "Invalid API key or exceeded limits"

// Answer behaves as the service does: it checks the path, the method, the key
// and the part, scans what came and reports.
func Answer() Behaviour { return Behaviour{act: answer} }

func answer(s *Server, w http.ResponseWriter, _ *http.Request, got Request) {
	path := strings.TrimPrefix(got.Path, s.prefix)
	switch {
	case path != BasicPath && path != AdvancedPath || !strings.HasPrefix(got.Path, s.prefix):
		http.Error(w, "not found", http.StatusNotFound)
	case got.Method != http.MethodPost:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	case !s.takes(got.Key):
		http.Error(w, refusal, http.StatusUnauthorized)
	case !got.Found || !got.Complete:
		http.Error(w, "inputFile is missing", http.StatusBadRequest)
	case path == BasicPath:
		writeJSON(w, basicResult(&got.file, got.PartFileName))
	default:
		writeJSON(w, advancedResult(&got.file, got.PartFileName, got.Options))
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v) // a client that left is no failure of the test
}

// basicResult leaves FoundViruses null for a clean file, as the service does.
func basicResult(f *file, name string) map[string]any {
	var viruses []map[string]any
	for _, v := range f.viruses {
		viruses = append(viruses, map[string]any{"FileName": name, "VirusName": v})
	}
	return map[string]any{"CleanResult": len(viruses) == 0, "FoundViruses": viruses}
}

func advancedResult(f *file, name string, options map[string]string) map[string]any {
	if given := options["fileName"]; given != "" {
		name = given
	}
	result := basicResult(f, name)
	clean := len(f.viruses) == 0
	for _, check := range []struct {
		member, option string
		found          bool
	}{
		{"ContainsExecutable", "allowExecutables", f.isExecutable()},
		{"ContainsInvalidFile", "allowInvalidFiles", f.isInvalid(name)},
		{"ContainsScript", "allowScripts", f.isScript()},
		{"ContainsPasswordProtectedFile", "allowPasswordProtectedFiles", f.isEncrypted()},
		{"ContainsMacros", "allowMacros", f.marks["macros"]},
		{"ContainsXmlExternalEntities", "allowXmlExternalEntities", f.marks["entity"]},
		{"ContainsInsecureDeserialization", "allowInsecureDeserialization", f.marks["dotnet"] || f.marks["java"]},
		{"ContainsHtml", "allowHtml", f.isHTML()},
		{"ContainsUnsafeArchive", "allowUnsafeArchives", f.isUnsafe()},
		{"ContainsOleEmbeddedObject", "allowOleEmbeddedObject", f.marks["ole"]},
		{"ContainsUnwantedAction", "allowUnwantedAction", f.marks["action"]},
	} {
		result[check.member] = check.found
		if check.found && !strings.EqualFold(options[check.option], "true") {
			clean = false
		}
	}
	restricted := isRestricted(f, options["restrictFileTypes"])
	result["ContainsRestrictedFileFormat"] = restricted
	result["CleanResult"] = clean && !restricted
	result["VerifiedFileFormat"] = nil
	if format := f.format(); format != "" && len(f.viruses) == 0 {
		result["VerifiedFileFormat"] = format
	}
	result["ContentInformation"] = information(f)
	return result
}

func isRestricted(f *file, list string) bool {
	if list == "" {
		return false
	}
	allowed := strings.Split(strings.ToLower(list), ",")
	for i := range allowed {
		allowed[i] = strings.TrimSpace(allowed[i])
	}
	return !slices.Contains(allowed, f.format())
}

func information(f *file) map[string]any {
	sum := sha1.Sum(f.head) //nolint:gosec // stands for the service's; nothing relies on it
	start := strings.TrimSpace(string(f.head[:min(len(f.head), 64)]))
	return map[string]any{
		"ContainsJSON":             len(f.head) < headSize && json.Valid(f.head),
		"ContainsXML":              strings.HasPrefix(start, "<?xml"),
		"ContainsImage":            slices.Contains([]string{".png", ".jpg", ".gif"}, f.format()),
		"Hash_SHA1":                hex.EncodeToString(sum[:]),
		"RelevantSubfileName":      nil,
		"RelevantSubfileHash_SHA1": nil,
		"IsAuthenticodeSigned":     false,
	}
}
