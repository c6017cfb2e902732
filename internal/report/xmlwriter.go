package report

import (
	"encoding/xml"
	"io"
)

// xmlWriter writes XML 1.0 element by element. What it is given is cleaned: the result is well-formed whatever the texts
// are. After an error it writes nothing more.
type xmlWriter struct {
	enc *xml.Encoder
	err error
}

type attr struct{ name, value string }

func newXMLWriter(w io.Writer) *xmlWriter {
	x := &xmlWriter{enc: xml.NewEncoder(w)}
	_, x.err = io.WriteString(w, xml.Header)
	x.enc.Indent("", "  ")
	return x
}

func (x *xmlWriter) token(t xml.Token) {
	if x.err == nil {
		x.err = x.enc.EncodeToken(t)
	}
}

func (x *xmlWriter) start(name string, attrs ...attr) {
	start := xml.StartElement{Name: xml.Name{Local: name}}
	for _, a := range attrs {
		start.Attr = append(start.Attr, xml.Attr{Name: xml.Name{Local: a.name}, Value: xmlText(a.value)})
	}
	x.token(start)
}

func (x *xmlWriter) end(name string) { x.token(xml.EndElement{Name: xml.Name{Local: name}}) }

// element writes an element that holds text.
func (x *xmlWriter) element(name, text string, attrs ...attr) {
	x.start(name, attrs...)
	if text != "" {
		x.token(xml.CharData(xmlText(text)))
	}
	x.end(name)
}

func (x *xmlWriter) flush() error {
	if x.err == nil {
		x.err = x.enc.Flush()
	}
	return x.err
}
