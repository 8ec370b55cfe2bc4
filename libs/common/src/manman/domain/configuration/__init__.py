"""Configuration strategies: how a game's own settings are produced from layers.

    strategies   what there is: types, levels, formats, and the values everything here works on
    bindings     values of parameters as a layer
    layering     one strategy: base, then layers, each with its origin
    targets      all strategies of a session: arguments, environment, files
    overlays     which module lays a layer over a text of a type; one module per format beside it

Every format module has one function, text and layer in, text out. A layer that changes nothing leaves the text as it
is, byte for byte. What is changed keeps its place, and comments stay where they are.
"""
