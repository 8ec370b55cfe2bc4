"""The validation rules of buf.build/bufbuild/protovalidate, as options of fields and messages."""
