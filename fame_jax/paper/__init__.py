"""The paper's numbers, tables, figures and sweeps; `fame reproduce` makes each of them from data of your own.

References:
    Zhang and Günther, "Feature Activation Map Explanation on Image Classification and Face Recognition", CVPRW 2026.
"""
