package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// spdxPackage is a package of SPDX 2.3, as far as it is used.
type spdxPackage struct {
	ID        string        `json:"SPDXID"`
	Name      string        `json:"name"`
	Version   string        `json:"versionInfo,omitempty"`
	Location  string        `json:"downloadLocation"`
	Analyzed  bool          `json:"filesAnalyzed"`
	Concluded string        `json:"licenseConcluded"`
	Declared  string        `json:"licenseDeclared"`
	Copyright string        `json:"copyrightText"`
	Refs      []spdxRef     `json:"externalRefs,omitempty"`
	Checksums []spdxDigests `json:"checksums,omitempty"`
}

type spdxRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxDigests struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxRelation struct {
	From string `json:"spdxElementId"`
	Kind string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

// writeSBOM says what the image holds: the program and every module linked into
// it, as the program itself says.
func writeSBOM(b built, modules []module, o options, digest v1.Hash, file string) error {
	unknown := "NOASSERTION"
	root := spdxPackage{
		ID: "SPDXRef-image", Name: o.name, Version: o.tag, Location: unknown, Concluded: "Apache-2.0", Declared: "Apache-2.0", Copyright: unknown,
		Checksums: []spdxDigests{{Algorithm: strings.ToUpper(digest.Algorithm), Value: digest.Hex}},
	}
	packages := []spdxPackage{root}
	relations := []spdxRelation{{From: "SPDXRef-DOCUMENT", Kind: "DESCRIBES", To: root.ID}}
	for i, m := range modules {
		p := spdxPackage{
			ID: fmt.Sprintf("SPDXRef-module-%d", i), Name: m.Path, Version: m.Version, Location: unknown, Concluded: unknown, Declared: unknown, Copyright: unknown,
		}
		switch m.Path {
		case "go.dev":
			p.Name, p.Refs = "stdlib", []spdxRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/stdlib@" + strings.TrimPrefix(runtime.Version(), "go")}}
		case b.info.Main.Path:
			p.Version, p.Concluded, p.Declared = b.info.Main.Version, "Apache-2.0", "Apache-2.0"
			p.Refs = []spdxRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + m.Path}}
		default:
			p.Refs = []spdxRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + m.Path + "@" + m.Version}}
		}
		packages = append(packages, p)
		relations = append(relations, spdxRelation{From: root.ID, Kind: "CONTAINS", To: p.ID})
	}
	text, err := json.MarshalIndent(map[string]any{
		"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": o.name + ":" + o.tag,
		"documentNamespace": "urn:portcullis:sbom:" + digest.Hex,
		"creationInfo":      map[string]any{"created": b.made.Format(time.RFC3339), "creators": []string{"Tool: portcullis-image"}},
		"packages":          packages, "relationships": relations,
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
