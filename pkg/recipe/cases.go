package recipe

func (d *decoder) cases(v *value) *Cases {
	if v == nil || v.kind != mapping {
		return nil
	}
	vars, row := place{scope: d.known.VarsOnly()}, place{scope: d.known.Row()}
	c := &Cases{
		Pos:   v.pos,
		Glob:  d.template(v.get("glob"), vars),
		File:  d.template(v.get("file"), vars),
		ID:    d.template(v.get("id"), row),
		Where: d.condition(v.get("where"), row),
		Limit: d.count(v.get("limit"), vars, MaxCases),
	}
	if matrix := v.get("matrix"); matrix != nil {
		for _, e := range matrix.entries {
			axis := Axis{Name: e.key, Pos: e.pos}
			for _, item := range e.value.items {
				axis.Values = append(axis.Values, d.data(item))
			}
			c.Matrix = append(c.Matrix, axis)
		}
	}
	for _, item := range v.get("list").list() {
		if fields, ok := d.data(item).(map[string]any); ok {
			c.List = append(c.List, Row{Fields: fields, Pos: item.pos})
		}
	}
	d.dataFile(v.get("file"), c.File)
	return c
}
