package icaptest

import "fmt"

// Product is how an ICAP server tells of malware.
type Product string

// What each vendor documents or was seen to send.
const (
	CICAP        Product = "c-icap virus_scan"       // X-Infection-Found and folded X-Violations-Found
	Squidclamav  Product = "squidclamav"             // X-Virus-ID in both heads
	SquidRewrite Product = "squidclamav, redirect"   // an HTTP redirect and no field
	Opswat       Product = "OPSWAT"                  // X-Response-Info, X-Blocked-Reason
	TrendDDAN    Product = "Trend Deep Discovery"    // X-Virus-ID with a list
	TrendBare    Product = "Trend without fields"    // HTTP 403 and no field
	TrendOne     Product = "Trend Vision One"        // HTTP 403
	TrendOneFail Product = "Trend Vision One, error" // HTTP 500: the scan failed
	Skyhigh      Product = "Skyhigh"                 // 200 and HTTP 403 inside
	InnerOnly    Product = "field in the HTTP head"  // X-Infection-Found encapsulated only
	Repaired     Product = "repaired"                // the message goes on, without its threat
	SilentEmpty  Product = "c-icap, early send"      // the original head and no body at all
)

// Products lists them all.
func Products() []Product {
	return []Product{
		CICAP, Squidclamav, SquidRewrite, Opswat, TrendDDAN, TrendBare, TrendOne, TrendOneFail, Skyhigh, InnerOnly,
		Repaired, SilentEmpty,
	}
}

// allowed is what stands in the head of an echo.
func (p Product) allowed() string {
	if p == Opswat {
		return "X-Response-Info: Allowed\r\n"
	}
	return ""
}

// infected is the whole answer for an object with a threat.
func (p Product) infected(method, istag, threat string) []byte {
	found := fmt.Sprintf("X-Infection-Found: Type=0; Resolution=2; Threat=%s;\r\n", threat)
	switch p {
	case CICAP:
		return page(istag, found+"X-Violations-Found: 1\r\n\t-\r\n\t"+threat+"\r\n\t0\r\n\t0\r\n", "HTTP/1.0 403 Forbidden", "")
	case Squidclamav:
		id := "X-Virus-ID: " + threat + "\r\n"
		return page(istag, id+found, "HTTP/1.1 403 Forbidden", id+found)
	case SquidRewrite:
		return page(istag, "", "HTTP/1.1 307 Temporary Redirect", "Location: http://blocked.invalid/?virus\r\n")
	case Opswat:
		return page(istag, "X-Response-Info: Blocked\r\nX-Blocked-Reason: Infected\r\nX-Virus-ID: "+threat+"\r\n"+found, "HTTP/1.1 403 Forbidden", "")
	case TrendDDAN:
		return page(istag, "X-Virus-ID: "+threat+", Other.Name\r\n", "HTTP/1.1 403 Forbidden", "")
	case TrendBare, TrendOne, Skyhigh:
		return page(istag, "", "HTTP/1.1 403 Forbidden", "")
	case TrendOneFail:
		return page(istag, "", "HTTP/1.1 500 Internal Server Error", "")
	case InnerOnly:
		return page(istag, "", "HTTP/1.1 200 OK", found)
	case Repaired:
		return original(method, istag, "X-Infection-Found: Type=0; Resolution=1; Threat="+threat+";\r\n", "8\r\nharmless\r\n0\r\n\r\n")
	case SilentEmpty:
		return original(method, istag, "", "0\r\n\r\n")
	}
	panic("no such product: " + string(p))
}

// page is a block page in the object's place; the two NULs at its end are
// c-icap's.
func page(istag, fields, start, inner string) []byte {
	head := start + "\r\nServer: icaptest\r\nConnection: close\r\nContent-Type: text/html\r\n" + inner + "\r\n"
	body := "<html><body>not here</body></html>\x00\x00"
	return fmt.Appendf(nil, "ICAP/1.0 200 OK\r\nServer: icaptest\r\nConnection: keep-alive\r\nISTag: %s\r\n%sEncapsulated: res-hdr=0, res-body=%d\r\n\r\n%s%x\r\n%s\r\n0\r\n\r\n",
		istag, fields, len(head), head, len(body), body)
}

// original begins like the message sent.
func original(method, istag, fields, chunks string) []byte {
	head, kind := "HTTP/1.1 200 OK\r\nVia: ICAP/1.0 icaptest\r\n\r\n", "res"
	if method == "REQMOD" {
		head, kind = "POST /object HTTP/1.1\r\nHost: portcullis.invalid\r\n\r\n", "req"
	}
	return fmt.Appendf(nil, "ICAP/1.0 200 OK\r\nISTag: %s\r\n%sEncapsulated: %s-hdr=0, %s-body=%d\r\n\r\n%s%s",
		istag, fields, kind, kind, len(head), head, chunks)
}
